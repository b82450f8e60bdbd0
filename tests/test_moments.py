"""When sounds begin and end: rules by eye, and what the encoder's time axis says of a scene that was put together."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import sonopsis
from sonopsis.audio import Window, iter_windows, load_audio
from sonopsis.data.activity import active_stretches
from sonopsis.engines.base import Prompt
from sonopsis.events import join_windows
from sonopsis.model import Model, Request
from sonopsis.moments import follow_moments, moments, sounds, stretches, tells_times
from sonopsis.results import WindowResult, gathered

EXAMPLES = Path(__file__).parents[1] / "examples"
STEP = 0.16  # s, of the bundled model
MANY = Request(top_k=61)


@pytest.fixture(scope="module")
def model() -> Model:
    return sonopsis.load(engine="onnx")


@pytest.fixture
def hears(model: Model, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], None]:
    """Makes the model hear labels in the time steps that are not a dot."""

    def say(found: dict[str, str]) -> None:
        def prompt(mel: NDArray[np.float32], pruning: Any) -> Prompt:
            steps = np.zeros((1, len(next(iter(found.values()))), len(model.labels)), np.float32)
            logits = np.full((1, len(model.labels)), -20.0, np.float32)
            for label, track in found.items():
                place = model.labels.index(label)
                logits[0, place] = 20.0
                steps[0, :, place] = [0.0 if letter == "." else 0.8 for letter in track]
            return Prompt(logits, None, steps)

        monkeypatch.setattr(model.engine, "prompt", prompt)

    return say


def noise(seconds: float, start: float = 0.0) -> Window:
    samples = 0.1 * np.random.default_rng(0).standard_normal(round(seconds * 16_000)).astype(np.float32)
    return Window(start, start + seconds, samples)


def rows(windows: Iterator[WindowResult] | list[WindowResult]) -> list[tuple[str, float, float]]:
    joined = join_windows(windows)
    return [(pair.label, round(row.start, 6), round(row.end, 6)) for row in joined for pair in row.labels or []]


@given(st.lists(st.sampled_from([0.0, 0.29, 0.31, 1.0]), min_size=1, max_size=12))
def test_a_label_sounds_near_its_highest_score_and_short_pauses_are_bridged(track: list[float]) -> None:
    found = sounds(np.array(track, np.float32))
    high = [score >= 0.3 * max(track) for score in track]
    for place, sound in enumerate(found):
        bridged = 0 < place < len(track) - 1 and high[place - 1] and high[place + 1]
        assert sound == (high[place] or bridged)


def test_a_window_is_divided_where_labels_begin_and_end(model: Model, hears: Callable[[dict[str, str]], None]) -> None:
    hears({"Dog": "..xx.x....", "Rain": "xxxxxxxxxx"})
    found = stretches(model, noise(1.55, start=20.0), MANY)
    assert [window.start for window in found[1:]] == [window.end for window in found[:-1]]
    assert (found[0].start, found[-1].end) == (20.0, 21.55)
    assert rows(found) == [("Rain", 20.0, 21.55), ("Dog", 20.32, 20.96)]
    (dog,) = [window for window in found if len(window.labels or []) == 2]
    assert [pair.score for pair in dog.labels or []] == pytest.approx([1.0, 1.0], abs=0.1)


def test_an_event_goes_on_in_the_next_window(model: Model, hears: Callable[[dict[str, str]], None]) -> None:
    hears({"Dog": "x........x"})
    pieces = [noise(1.6, start=1.6 * n) for n in range(3)]
    found = rows(moments(model, pieces, MANY))
    assert found == [("Dog", 0.0, 0.16), ("Dog", 1.44, 1.76), ("Dog", 3.04, 3.36), ("Dog", 4.64, 4.8)]


def test_overlapping_windows_answer_up_to_the_middle(model: Model, hears: Callable[[dict[str, str]], None]) -> None:
    hears({"Dog": "xxxx......"})
    pieces = [noise(1.6, start=0.8 * n) for n in range(3)]  # stretches end at 1.2 and 2.0
    assert rows(moments(model, pieces, MANY)) == [("Dog", 0.0, 0.64), ("Dog", 1.2, 1.44), ("Dog", 2.0, 2.24)]
    gaps = [noise(1.6, start=3.0 * n) for n in range(2)]
    assert rows(moments(model, gaps, MANY)) == [("Dog", 0.0, 0.64), ("Dog", 3.0, 3.64)]


@pytest.mark.parametrize(("hop", "expected"), [(1.6, [(0.0, 0.16), (1.6, 1.76)]), (0.8, [(0.0, 0.16), (2.08, 2.24)])])
def test_an_interruption_ends_the_window_that_waits_for_the_next(
    model: Model, hears: Callable[[dict[str, str]], None], hop: float, expected: list[tuple[float, float]]
) -> None:
    hears({"Dog": "x.......x." if hop < 1.6 else "x........."})

    def stopped() -> Iterator[Window]:
        yield from (noise(1.6, start=hop * n) for n in range(2))
        raise KeyboardInterrupt

    found = list[WindowResult]()
    with pytest.raises(KeyboardInterrupt):
        for window in moments(model, stopped(), MANY):
            found.append(window)
    assert found[-1].end == hop + 1.6
    assert [(start, end) for _, start, end in rows(found)] == expected


def test_labels_and_scores_are_those_of_the_window(model: Model) -> None:
    samples, rate = soundfile.read(EXAMPLES / "cow.ogg", dtype="float32")
    for request in (MANY, Request(top_k=2), Request(threshold=0.05), Request(keep_rate=1.0)):
        (tags,) = model.tag(
            samples,
            sample_rate=rate,
            top_k=request.top_k,
            threshold=request.threshold,
            keep_rate=request.keep_rate,
        )
        (piece,) = iter_windows(samples, window=model.window, sample_rate=rate)
        told = {pair for window in stretches(model, piece, request) for pair in window.labels or []}
        assert {label for label, _ in told} == {label for label, _ in tags.labels}
        for label, score in told:
            assert score == pytest.approx(dict(tags.labels)[label], abs=1e-4)


def test_a_sound_in_silence_is_found_where_it_is(model: Model, tmp_path: Path) -> None:
    """A cow between 4 s and 7 s of the second of three windows, whatever the window is that hears it."""
    active = active_stretches(load_audio(EXAMPLES / "cow.ogg"))
    first, last = active[0][0], active[-1][1]  # by its level
    cow, rate = soundfile.read(EXAMPLES / "cow.ogg", dtype="float32")
    sound = 1e-4 * np.random.default_rng(0).standard_normal(30 * rate)
    sound[14 * rate : 14 * rate + len(cow)] += cow
    soundfile.write(tmp_path / "a.flac", sound, rate)
    for hop in (None, 5.0):
        (result,) = gathered(follow_moments(model, tmp_path / "a.flac", replace(MANY, hop=hop)))
        assert (result.windows[0].start, result.windows[-1].end, result.duration) == (0.0, 30.0, 30.0)
        cows = [row for row in rows(result.windows) if row[0] == "Cattle, bovinae"]
        assert cows and min(row[1] for row in cows) == pytest.approx(14 + first, abs=0.6)
        assert max(row[2] for row in cows) == pytest.approx(14 + last, abs=0.6)


def test_silence_is_not_computed(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model.engine, "prompt", None)
    (found,) = stretches(model, Window(0.0, 1.0, np.zeros(16_000, np.float32)), MANY)
    assert found.status == "silence" and rows([found]) == []


def test_a_model_without_a_time_axis_says_so(model: Model, tiny_model: Path) -> None:
    assert tells_times(model)
    other = sonopsis.load(tiny_model)
    assert not tells_times(other)
    with pytest.raises(ValueError, match="does not score its labels in time"):
        stretches(other, noise(1.0), MANY)
