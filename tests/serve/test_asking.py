"""Questions over HTTP: the answers of the library, and no route where the model has none."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import sonopsis

QUESTIONS = ["is there a dog?", "what comes first?"]


def send(service: Any, file: Path, **query: Any) -> Any:
    return service.client.post("/v1/ask", files={"file": (file.name, file.read_bytes())}, params=query)


def test_the_answers_are_those_of_the_library(start: Callable[..., Any], answering_model: Path, sounds: Path) -> None:
    service, file = start("--model", answering_model), sounds / "noise.wav"
    expected = sonopsis.load(answering_model).ask(file, QUESTIONS)
    answer = send(service, file, question=QUESTIONS)
    assert answer.status_code == 200
    assert answer.json() == [one.to_dict() for one in expected]
    assert "/v1/ask" in service.client.get("/openapi.json").json()["paths"]
    for query in ({}, {"question": ""}, {"question": "??"}, {"question": "is it?", "window": 99}):
        refused = send(service, file, **query)
        assert refused.status_code == 422 and refused.json()["error"]["code"] == "bad_parameter"
    assert send(service, sounds / "notes.txt", question="is there a dog?").status_code == 415
    assert [file for file in service.temporary() if file.name.startswith("upload-")] == []


def test_a_model_that_does_not_answer_has_no_route(service: Any, sounds: Path) -> None:
    assert send(service, sounds / "noise.wav", question="is there a dog?").status_code == 404
    assert "/v1/ask" not in service.client.get("/openapi.json").json()["paths"]
