"""Events of a model that knows when in a window a label sounds: by the stream, on the page, and by the command line."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import sonopsis
from sonopsis.audio import SAMPLE_RATE, load_audio
from sonopsis.events import join_parts
from sonopsis.many import cores
from sonopsis.model import Model, Request
from sonopsis.moments import follow_moments

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def bundled(running: Callable[..., Any]) -> Iterator[Any]:
    """A service with the bundled model, one thread for each window."""
    with running("--workers", cores()) as found:
        yield found


@pytest.fixture(scope="module")
def library() -> Model:
    model = sonopsis.load()
    model.engine.use_threads(1)
    return model


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A horse after 2 s and a cow after 14 s, in 22 s of faint noise: three windows."""
    sound = 1e-4 * np.random.default_rng(0).standard_normal(22 * SAMPLE_RATE)
    for name, second in (("horse", 2), ("cow", 14)):
        taken = load_audio(EXAMPLES / f"{name}.ogg")[: 7 * SAMPLE_RATE]
        sound[second * SAMPLE_RATE : second * SAMPLE_RATE + len(taken)] += taken
    file = tmp_path_factory.mktemp("times") / "farm.wav"
    soundfile.write(file, sound, SAMPLE_RATE)
    return file


def rows_of(model: Model, recording: Path, request: Request) -> list[tuple[float, float, str, float]]:
    """What `sonopsis tag --events` writes."""
    parts = [part.window for part in join_parts(follow_moments(model, recording, request)) if part.window]
    return [(row.start, row.end, *(row.labels or [])[0]) for row in parts]


@pytest.mark.parametrize("query", [{"captions": True}, {"hop": 5.0, "top_k": 2}, {"keep_rate": 0.5, "threshold": 0.2}])
def test_the_stream_has_the_events_of_the_command_line_and_the_windows_of_the_library(
    bundled: Any, library: Model, recording: Path, query: dict[str, Any]
) -> None:
    found = bundled.events(recording.read_bytes(), name="farm.wav", **query)
    request = Request(**query)
    events = [tuple(data[key] for key in ("start", "end", "label", "score")) for name, data in found if name == "event"]
    assert events == rows_of(library, recording, request)
    assert len(events) > 1 and any(end - start < 7 for start, end, *_ in events)  # and not all of a window
    windows = [data for name, data in found if name == "window"]
    for data, window in zip(windows, library.describe(recording, request).windows, strict=True):
        for name, value in window.to_dict().items():
            if name != "labels":
                assert data[name] == (pytest.approx(value, abs=1e-4) if isinstance(value, float) else value)
        scores = {label["label"]: label["score"] for label in data["labels"]}
        assert scores == pytest.approx(dict(window.labels or []), abs=1e-4)
    assert found[-1][1] == {
        "path": "farm.wav",
        "duration": 22.0,
        "model": "default",
        "windows": len(windows),
        "times": "axis",
    }


def test_the_page_shows_the_events_of_the_command_line(
    visit: Callable[[str], Any], bundled: Any, library: Model, recording: Path
) -> None:
    page = visit(bundled.address)
    page.open(recording)
    shown = {button.get_attribute("aria-label") for button in page.all(".track button")}
    expected = {
        f"{label}, 0:{start:04.1f} to 0:{end:04.1f}, score {score:.2f}"
        for start, end, label, score in rows_of(library, recording, Request())
    }
    assert shown == expected
    asked = page.run("return performance.getEntriesByType('resource').map(({ name }) => name)")
    assert sum("/v1/events" in name for name in asked) == 1  # the recording is heard once
