"""The consensus is what most agree with."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonopsis.decoding.consensus import (
    agreement,
    consensus,
    label_parser,
    tag_support,
)


def test_what_most_say_wins_over_what_one_says() -> None:
    assert consensus([[9, 9], [1, 2, 3], [1, 2, 4], [1, 2, 3, 5]]) == 1


def test_order_counts() -> None:
    assert consensus([[2, 1], [1, 2], [1, 2]]) == 1


def test_a_short_sentence_does_not_win_for_being_safe() -> None:
    assert consensus([[1], [1, 2, 3, 4], [1, 2, 3, 5], [1, 2, 3, 6]]) != 0


@given(st.lists(st.lists(st.integers(0, 5), max_size=6), min_size=1, max_size=6))
def test_the_place_is_that_of_the_highest_mean_agreement(sequences: list[list[int]]) -> None:
    """Against F1 counted by hand: every single and pair of one matched with at most one of the other."""

    def parts(sequence: list[int]) -> list[tuple[int, ...]]:
        return [(token,) for token in sequence] + list(pairwise(sequence))

    def agreement(a: list[int], b: list[int]) -> float:
        left, common = parts(b), 0
        for part in parts(a):
            if part in left:
                left.remove(part)
                common += 1
        return 2 * common / max(1, len(parts(a)) + len(parts(b)))

    totals = [sum(agreement(a, b) for b in sequences) for a in sequences]
    assert totals[consensus(sequences)] == pytest.approx(max(totals))


def test_nothing_to_choose_from() -> None:
    with pytest.raises(ValueError, match="no sequence"):
        consensus([])


def test_support_decides_between_equals() -> None:
    assert consensus([[1, 2], [3, 4]], [0.0, 0.5]) == 1
    unsure = {"dog": 0.9, "rain": 0.6}
    assert tag_support(["dog"], unsure) > tag_support(["dog", "rain"], unsure)  # which is false as often as true
    scores = {"dog": 0.9, "rain": 0.9, "cat": 0.01}
    assert tag_support(["dog", "rain"], scores) > tag_support(["dog"], scores) > tag_support(["cat"], scores) > 0
    assert tag_support(["dog", "rain", "cat", "bird"], scores) < tag_support(["dog", "rain"], scores)
    assert tag_support(["dog", "dog"], scores) < tag_support(["dog"], scores)  # to repeat oneself is no news
    assert tag_support([], {}) == 0


def test_a_label_is_named_by_its_words_in_a_row() -> None:
    parse = label_parser(["dog", "door bell", "bell"])
    assert list(parse("A dog barks, then a door bell rings.")) == ["dog", "door bell", "bell"]
    assert list(parse("a doorbell and dogs; the bell of a door")) == ["bell"]


def test_a_label_of_several_names_is_named_by_one_of_them() -> None:
    parse = label_parser(["Chicken, rooster", "Keyboard (musical)", "(unknown)"])
    assert list(parse("a rooster crows.")) == ["Chicken, rooster"]
    assert list(parse("a chicken beside a keyboard")) == ["Chicken, rooster", "Keyboard (musical)"]
    assert list(parse("something unknown")) == []


def test_agreement_is_the_share_with_all_sequences() -> None:
    sequences = [[1, 2], [1, 2], [1, 2], [1, 9], [7, 8]]
    assert consensus(sequences) == 0
    with pytest.raises(ValueError, match="no sequence"):
        consensus([])
    assert agreement(sequences, 4) == pytest.approx(1 / 5)  # with itself alone
    assert agreement([[1, 2]] * 3, 1) == 1
