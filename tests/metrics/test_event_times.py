"""Event F1 with a collar, against mir_eval's notes, whose labels are pitches, and by eye."""

import mir_eval.transcription
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonopsis.metrics.event_times import Timed, events_of, matched, score_times
from sonopsis.scenes.benchmark import load_benchmark

LABELS = "ab"

moments = st.integers(0, 24).map(lambda n: n / 4)
event = st.builds(
    lambda label, start, length: Timed(label, start, start + length),
    st.sampled_from(LABELS),
    moments,
    st.integers(1, 16).map(lambda n: n / 4),
)
events = st.lists(event, min_size=1, max_size=7)


def notes(found: list[Timed]) -> tuple[np.ndarray, np.ndarray]:
    """Intervals (n, 2) and a pitch in Hz for each label."""
    return np.array([[e.start, e.end] for e in found]), np.array([220.0 * 4 ** LABELS.index(e.label) for e in found])


@given(events, events, st.sampled_from([0.25, 0.5, 1.0]))
def test_as_many_are_right_as_for_mir_eval(reference: list[Timed], found: list[Timed], collar: float) -> None:
    """Its notes have the same rule: onset within a collar, offset within a collar or a share of the length."""
    options = {"onset_tolerance": collar, "offset_min_tolerance": collar}
    both = mir_eval.transcription.match_notes(*notes(reference), *notes(found), **options)
    assert matched(reference, found, collar) == len(both)
    onsets = mir_eval.transcription.match_notes(*notes(reference), *notes(found), **options, offset_ratio=None)
    assert matched(reference, found, collar, offsets=False) == len(onsets)
    figures = score_times([reference], [found], collar)
    precision, recall, f1, _ = mir_eval.transcription.precision_recall_f1_overlap(
        *notes(reference), *notes(found), **options
    )
    assert (figures.precision, figures.recall) == pytest.approx((precision, recall))
    assert figures.f1 == pytest.approx(f1)


def test_by_eye() -> None:
    dog, late = Timed("Dog", 1.0, 2.0), Timed("Dog", 1.5, 2.4)
    assert matched([dog], [late], 0.5) == 1
    assert matched([dog], [late._replace(start=1.51)], 0.5) == 0
    assert matched([dog], [late._replace(end=2.51)], 0.5) == 0
    assert matched([dog], [late._replace(end=9.0)], 0.5, offsets=False) == 1
    assert matched([dog], [late._replace(label="Cat")], 0.5) == 0
    assert matched([dog], [late, late], 0.5) == 1
    long = Timed("Rain", 0.0, 10.0)
    assert matched([long], [Timed("Rain", 0.0, 8.0)], 0.5) == 1  # a fifth of its length
    assert matched([long], [Timed("Rain", 0.0, 7.9)], 0.5) == 0
    # The first reference takes what the second one needs, unless pairs are chosen well.
    assert matched([Timed("Dog", 1.0, 2.0), Timed("Dog", 1.4, 2.4)], [dog, Timed("Dog", 0.7, 1.7)], 0.5) == 2


def test_counts_are_added_up_over_recordings() -> None:
    dog, cat = Timed("Dog", 0.0, 1.0), Timed("Cat", 0.0, 1.0)
    figures = score_times([[dog], [cat, dog], []], [[dog], [], [cat]], 0.5)
    assert (figures.precision, figures.recall) == (0.5, pytest.approx(1 / 3))
    assert figures.f1 == pytest.approx(0.4) and figures.onset_f1 == pytest.approx(0.4)
    assert figures.interval[0] <= figures.f1 <= figures.interval[1]
    assert score_times([[]], [[]], 0.5).f1 == 0.0
    with pytest.raises(ValueError, match="each of 1 recordings, not in 2"):
        score_times([[dog]], [[dog], [dog]], 0.5)


def test_a_scene_is_its_own_best_answer() -> None:
    references = [events_of(scene) for scene in load_benchmark()[:60]]
    assert any(scene.bed for scene in load_benchmark()[:60])
    for collar in (0.5, 1.0):
        figures = score_times(references, references, collar)
        assert (figures.f1, figures.onset_f1, figures.interval) == (1.0, 1.0, (1.0, 1.0))
    later = [[e._replace(start=e.start + 0.6, end=e.end + 0.6) for e in found] for found in references]
    assert score_times(references, later, 0.5).f1 < 0.2 < score_times(references, later, 1.0).f1
