"""The stream of a recording: the windows of the library, the joined events, one end."""

from pathlib import Path
from typing import Any

import sonopsis
from sonopsis.events import join_windows
from sonopsis.model import Request

QUESTION = {"window": 1.0, "hop": 0.5}
NAMED = {"name": "noise.wav", **QUESTION}


def test_windows_and_events_are_those_of_the_library(service: Any, tiny_model: Path, sounds: Path) -> None:
    found = service.events((sounds / "noise.wav").read_bytes(), top_k=2, **NAMED)
    result = sonopsis.load(tiny_model).describe(sounds / "noise.wav", Request(top_k=2, **QUESTION))
    assert [data for name, data in found if name == "window"] == [window.to_dict() for window in result.windows]
    expected = [(event.start, event.end, *(event.labels or [])[0]) for event in join_windows(result.windows)]
    assert [tuple(data[k] for k in ("start", "end", "label", "score")) for n, data in found if n == "event"] == expected
    end = {"path": "noise.wav", "duration": 6.0, "model": "tiny", "windows": len(result.windows), "times": "windows"}
    assert found[-1] == ("end", end)
    assert service.temporary() == []


def test_what_was_cut_off_is_said(service: Any, sounds: Path) -> None:
    found = service.events((sounds / "noise.wav").read_bytes()[:100_000], **NAMED)
    assert any(name == "warning" and str(service.scratch) not in data["message"] for name, data in found)
    answer = service.client.post("/v1/tag", content=(sounds / "noise.wav").read_bytes()[:100_000])
    assert answer.headers["sonopsis-warning"]


def test_what_is_wrong_from_the_start_is_a_status(service: Any) -> None:
    answer = service.client.post("/v1/events", content=b"nothing")
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "not_a_recording")


def test_a_client_that_leaves_frees_its_place(service: Any, sounds: Path) -> None:
    content = (sounds / "noise.wav").read_bytes()
    query = {"window": 1, "hop": 0.01, "captions": True}
    with service.client.stream("POST", "/v1/events", content=content, params=query) as answer:
        assert next(answer.iter_lines()) == "event: window"
    for _ in range(200):
        if service.client.get("/healthz").json()["places"]["taken"] == 0:
            break
    assert service.client.get("/healthz").json()["places"]["taken"] == 0
    assert service.temporary() == []
