"""Windows joined into events, against rules that can be checked by eye and an oracle on a grid of time."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonopsis.events import join_parts, join_windows
from sonopsis.results import FileResult, LabelScore, Part, WindowResult


def windows(labels: list[str], length: float = 2.0, hop: float = 2.0) -> list[WindowResult]:
    """A window for each text, with a label for each of its letters; later windows are more certain."""
    return [
        WindowResult(n * hop, n * hop + length, [(letter, (n + 1) / 100) for letter in text])
        for n, text in enumerate(labels)
    ]


def rows(events: list[WindowResult]) -> list[tuple[str, float, float]]:
    return [(event.labels[0].label, event.start, event.end) for event in events if event.labels]


def test_repeated_labels_are_one_event() -> None:
    events = list(join_windows(windows(["a", "ab", "b", "", "a"])))
    assert rows(events) == [("a", 0.0, 4.0), ("b", 2.0, 6.0), ("a", 8.0, 10.0)]
    assert [event.labels[0].score for event in events if event.labels] == [0.02, 0.03, 0.05]


def test_overlapping_windows_share_their_overlap() -> None:
    assert rows(list(join_windows(windows(["", "a", "a", ""], hop=1.0)))) == [("a", 1.5, 3.5)]
    assert rows(list(join_windows(windows(["a", "b", "b"], hop=0.5)))) == [("a", 0.0, 1.25), ("b", 1.25, 3.0)]


def test_windows_with_gaps_are_not_joined() -> None:
    assert rows(list(join_windows(windows(["a", "a"], hop=3.0)))) == [("a", 0.0, 2.0), ("a", 3.0, 5.0)]


def test_silence_and_what_is_unclear_are_no_events() -> None:
    silent = WindowResult(0.0, 2.0, [("silence", 1.0)], status="silence")
    unclear = WindowResult(2.0, 4.0, [], status="unclear", guess=LabelScore("a", 0.1))
    assert list(join_windows([silent, unclear])) == []
    assert list(join_windows([])) == []


def test_a_label_keeps_what_it_knows() -> None:
    taught = LabelScore("Dog", 0.75, distilled=True)
    (event,) = join_windows([WindowResult(0.0, 2.0, [taught]), WindowResult(2.0, 4.0, [("Dog", 0.5)])])
    assert event.labels == [("Dog", 0.75)] and event.labels[0].distilled and event.labels[0].id == "/m/0bt9lr"


def test_events_come_when_they_are_certain() -> None:
    seen = list[int]()

    def watched() -> Iterator[WindowResult]:
        for n, window in enumerate(windows(["a", "", "b", "", "c", ""])):
            seen.append(n)
            yield window

    events = join_windows(watched())
    assert rows([next(events)]) == [("a", 0.0, 2.0)] and max(seen) == 2
    assert rows([next(events)]) == [("b", 4.0, 6.0)] and max(seen) == 4


@given(st.lists(st.sets(st.sampled_from("abc")), max_size=12), st.sampled_from([0.5, 1.0, 2.0, 3.0]))
def test_events_cover_what_the_windows_say(found: list[set[str]], hop: float) -> None:
    """On a grid of small steps: a label sounds where the window whose stretch it is has the label."""
    given_windows = windows(["".join(sorted(labels)) for labels in found], hop=hop)
    events = rows(list(join_windows(given_windows)))
    assert events == sorted(events, key=lambda event: (event[1], event[2], event[0]))
    half = min(hop, 2.0) / 2
    for step in range(int((len(found) * hop + 2.0) * 8)):
        at = step / 8 + 1 / 16
        inside = [w for w in given_windows if w.start <= at < w.end]
        nearest = min(inside, key=lambda w: abs((w.start + w.end) / 2 - at), default=None)
        expected = {label for label, _ in nearest.labels or []} if nearest else set()
        edges = [(w.start + w.end) / 2 + side * half for w in given_windows for side in (-1, 1)]
        if any(abs(at - edge) < 1 / 15 for edge in edges):
            continue
        assert {label for label, start, end in events if start <= at < end} == expected
    for label in "abc":  # events of one label neither overlap nor touch, but at a gap between windows
        own = [event for event in events if event[0] == label]
        assert all(first[2] < second[1] for first, second in pairwise(own))


def test_recordings_of_a_run_are_joined_each_for_itself() -> None:
    one, two = FileResult("1.wav", 4.0, "m"), FileResult("2.wav", 4.0, "m")
    bad = FileResult("3.wav", 0.0, "m", error="3.wav: is damaged")
    sound = windows(["a", "a"])
    run = [*(Part(one, w) for w in sound), Part(one, None), *(Part(two, w) for w in sound), Part(two, None)]
    run += [*(Part(bad, w) for w in sound), Part(bad, None)]
    events = [(result.path, window and (window.start, window.end)) for result, window in join_parts(run)]
    expected = [(path, when) for path in ("1.wav", "2.wav") for when in ((0.0, 4.0), None)]
    assert events == [*expected, ("3.wav", None)]


def test_an_interruption_ends_what_sounds() -> None:
    head = FileResult("1.wav", 60.0, "m")

    def stopped() -> Iterator[Part]:
        yield from (Part(head, window) for window in windows(["a", "a"]))
        raise KeyboardInterrupt

    parts, found = join_parts(stopped()), list[Part]()
    with pytest.raises(KeyboardInterrupt):
        for part in parts:
            found.append(part)
    assert [(part.window.start, part.window.end) for part in found if part.window] == [(0.0, 4.0)]
