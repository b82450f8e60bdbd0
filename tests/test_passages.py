"""Scenes: where they begin and end, what they are called, and that each is captioned once."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

import sonopsis
from sonopsis.audio import Window
from sonopsis.model import Model, Request
from sonopsis.passages import follow_scenes, scenes
from sonopsis.results import LabelScore, Share, Summary, WindowResult, gathered

REQUEST = Request(captions=True, top_k=3)


class Listener(Model):
    """Hears in samples what was written there: a number is a set of labels, and captions name its letters."""

    def __init__(self, texts: list[str]) -> None:
        self.texts, self.captioned = texts, list[str]()

    def describe_samples(self, samples: NDArray[np.float32], request: Request | None = None) -> WindowResult:
        text = self.texts[int(samples[0])]
        assert request is not None
        caption = f"a sound of {text}" if request.captions else None
        if request.captions:
            self.captioned.append(text)
        if text == "-":
            return WindowResult(0.0, 1.0, [LabelScore("silence", 1.0)], caption, status="silence")
        if text == "?":
            return WindowResult(0.0, 1.0, [], caption, status="unclear", guess=LabelScore("x", 0.1))
        pairs = [LabelScore(letter.lower(), 0.9 if letter.isupper() else 0.5) for letter in text]
        return WindowResult(0.0, 1.0, pairs, caption)


def pieces(count: int, hop: float = 1.0) -> Iterator[Window]:
    for n in range(count):
        yield Window(n * hop, n * hop + 1.0, np.array([n], np.float32))


def found(texts: list[str], hop: float = 1.0) -> tuple[list[WindowResult], list[str]]:
    listener = Listener(texts)
    return list(scenes(listener, pieces(len(texts), hop), REQUEST)), listener.captioned


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["a", "a", "ab", "b", "-", "-"], [("a b", 0, 3), ("b", 3, 4), ("silence", 4, 6)]),
        (["a", "a", "abc", "a"], [("a", 0, 2), ("a b c", 2, 3), ("a", 3, 4)]),  # a third is not half
        (["?", "?", "a", "?"], [("", 0, 2), ("a", 2, 3), ("", 3, 4)]),
        (["ab", "ac", "ad"], [("a b", 0, 1), ("a c", 1, 2), ("a d", 2, 3)]),
        (["a"], [("a", 0, 1)]),
    ],
)
def test_a_scene_goes_on_while_it_shares_half_of_its_labels(
    texts: list[str], expected: list[tuple[str, float, float]]
) -> None:
    rows, captioned = found(texts)
    said = [(" ".join(pair.label for pair in row.labels or []), row.start, row.end) for row in rows]
    assert said == expected
    assert len(captioned) == len(rows)


def test_the_clearest_window_is_captioned_once() -> None:
    rows, captioned = found(["a", "A", "a", "b"])
    assert captioned == ["A", "b"]
    assert [row.caption for row in rows] == ["a sound of A", "a sound of b"]
    assert rows[0].labels == [("a", 0.9)]
    assert found(["?", "?"])[0][0].guess == ("x", 0.1) and found(["?"])[0][0].status == "unclear"


def test_overlapping_windows_share_their_overlap_and_gaps_divide() -> None:
    rows, _ = found(["a", "a", "b"], hop=0.5)
    assert [(row.start, row.end) for row in rows] == [(0.0, 1.25), (1.25, 2.0)]
    rows, _ = found(["a", "a", "b"], hop=2.0)
    assert [(row.start, row.end) for row in rows] == [(0.0, 1.0), (2.0, 3.0), (4.0, 5.0)]


def test_an_interruption_ends_the_scene_that_goes_on() -> None:
    def stopped() -> Iterator[Window]:
        yield from pieces(2)
        raise KeyboardInterrupt

    rows = list[WindowResult]()
    with pytest.raises(KeyboardInterrupt):
        for row in scenes(Listener(["a", "a"]), stopped(), REQUEST):
            rows.append(row)
    assert [(row.start, row.end) for row in rows] == [(0.0, 2.0)]


def test_a_recording_has_a_summary(tiny_model: Path, tmp_path: Path) -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal(8 * 16_000)
    noise[3 * 16_000 : 5 * 16_000] = 0.0
    soundfile.write(tmp_path / "a.wav", noise, 16_000)
    model = sonopsis.load(tiny_model)
    (result,) = gathered(follow_scenes(model, tmp_path / "a.wav", Request(captions=True, window=1.0, top_k=2)))
    rows = result.windows
    assert rows[0].start == 0.0 and rows[-1].end == result.duration == 8.0
    assert [a.end for a in rows[:-1]] == [b.start for b in rows[1:]]
    assert [(row.start, row.end) for row in rows if row.status == "silence"] == [(3.0, 5.0)]
    assert all(row.caption for row in rows)
    summary = result.summary
    assert summary is not None and summary.silence == 2.0 and summary.unclear == 0.0
    for label, seconds, times in summary.shares:
        own = [row for row in rows if row.status == "heard" and label in dict(row.labels or [])]
        assert (seconds, times) == (sum(row.end - row.start for row in own), len(own))
    assert result.to_dict()["summary"]["text"] == summary.text


def test_a_summary_in_words() -> None:
    shares = [Share("Rain", 3730.0, 3), Share("Dog", 20.4, 1)]
    assert (
        Summary(shares, silence=10.0).text == "Rain for 1:02:10 in 3 scenes; Dog for 0:20 in 1 scene; silence for 0:10."
    )
    assert Summary([], unclear=61.0).text == "Unclear for 1:01."
    assert Summary([]).text == "Nothing."
    many = Summary([Share(letter, 1.0, 1) for letter in "abcdefg"])
    assert many.text.endswith("e for 0:01 in 1 scene; 2 more labels.")
