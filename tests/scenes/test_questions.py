"""Questions about scenes: the facts decide every answer, and every answer is judged by what it says."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonopsis.scenes.questions import KINDS, NOTHING, NUMBERS, TIMES, WORDINGS, Question, ask, ask_kind, noun
from sonopsis.scenes.scene import LABELS, Facts
from sonopsis.scenes.vocabulary import BEDS, LEAVES
from sonopsis.scenes.words import parse

SEQUENCE = Facts("sequence", ("Dog", "Bell", "Rain"), 3)


@st.composite
def facts(draw: st.DrawFn) -> Facts:
    kind = draw(st.sampled_from(sorted(LABELS)))
    count = draw(st.sampled_from(LABELS[kind]))
    labels = draw(st.lists(st.sampled_from(sorted(LEAVES)), min_size=count, max_size=count, unique=True))
    if kind == "bed":
        labels[-1] = draw(st.sampled_from([bed for bed in BEDS if bed not in labels[:-1]]))
    events = draw(st.integers(2, 4)) if kind == "repeat" else count - (kind == "bed")
    return Facts(kind, tuple(labels), events)


@given(facts(), st.integers(0, 2**32))
def test_a_question_is_worded_and_its_answer_answers_it(known: Facts, seed: int) -> None:
    question = ask(known, random.Random(seed))
    assert question.kind in KINDS
    assert question.text.endswith("?") and question.text == question.text.lower()
    assert "{" not in question.text + question.answer
    assert question.answered_by(question.answer)
    assert question.answered_by(f"{question.answer}.")


@pytest.mark.parametrize("label", sorted(LEAVES))
def test_the_noun_of_an_answer_names_its_label_alone(label: str) -> None:
    assert parse(noun(label)) == [label]


def test_answers_follow_the_facts() -> None:
    def answers(known: Facts, kind: str) -> set[str]:
        return {ask_kind(known, kind, random.Random(seed)).answer for seed in range(40)}  # type: ignore[arg-type]

    bed = Facts("bed", ("Dog", "Rain"), 1)
    assert answers(SEQUENCE, "first") == {noun("Dog")}
    assert answers(SEQUENCE, "last") == {noun("Rain")}
    assert answers(SEQUENCE, "next") == {noun("Bell"), noun("Rain")}
    assert answers(SEQUENCE, "sounds") == {NUMBERS[3]}
    assert answers(SEQUENCE, "together") == {"no"}
    assert answers(SEQUENCE, "background") == {NOTHING}
    assert answers(Facts("overlap", ("Dog", "Bell"), 2), "together") == {"yes"}
    assert answers(bed, "background") == {noun("Rain")}
    assert answers(Facts("repeat", ("Dog",), 3), "count") == {TIMES[3], TIMES[0]}
    assert answers(bed, "content") == {f"{noun('Dog')} and {noun('Rain')}"}


def test_presence_and_order_say_yes_where_it_is_true() -> None:
    for seed in range(60):
        there = ask_kind(SEQUENCE, "presence", random.Random(seed))
        assert (there.answer == "yes") == bool(set(parse(there.text)) & set(SEQUENCE.labels))
        order = ask_kind(SEQUENCE, "order", random.Random(seed))
        first, second = (label for label in parse_in_place(order.text) if label in SEQUENCE.labels)
        assert (order.answer == "yes") == (SEQUENCE.labels.index(first) < SEQUENCE.labels.index(second))


def parse_in_place(text: str) -> list[str]:
    """Labels by where their words stand, whatever the words between say of time."""
    before, _, after = text.partition(" before ")
    return parse(before) + parse(after)


def test_what_music_may_hold_is_not_called_absent() -> None:
    music = Facts("single", ("Music",), 1)
    asked = [ask_kind(music, "presence", random.Random(seed)) for seed in range(300)]
    absent = {label for question in asked if question.answer == "no" for label in parse(question.text)}
    assert absent and not absent & {"Guitar", "Snare drum", "Hi-hat"}


@pytest.mark.parametrize("kind", ["order", "first", "last", "next", "together"])
def test_a_question_that_the_facts_leave_open_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match="answers no question"):
        ask_kind(Facts("single", ("Dog",), 1), kind, random.Random(0))  # type: ignore[arg-type]


def test_wrong_answers_are_wrong() -> None:
    assert not Question("presence", "is there a dog?", "yes").answered_by("no")
    assert not Question("count", "how often?", "two").answered_by("twofold")
    assert not Question("first", "what comes first?", noun("Dog")).answered_by(noun("Bell"))
    assert not Question("content", "what is this?", noun("Dog")).answered_by(f"{noun('Dog')} and {noun('Bell')}")
    assert set(WORDINGS) == set(KINDS)
