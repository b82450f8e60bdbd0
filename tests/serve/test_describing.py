"""The routes give what the library gives."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sonopsis.cli.main import app
from sonopsis.model import Model, Request
from sonopsis.results import FileResult
from sonopsis.serve.formats import MEDIA_TYPES


def send(service: Any, route: str, file: Path, **query: Any) -> Any:
    return service.client.post(f"/v1/{route}", files={"file": (file.name, file.read_bytes())}, params=query)


def expected(model: Model, file: Path, **question: Any) -> dict[str, Any]:
    result = model.describe(file, Request(**question))
    return FileResult(file.name, result.duration, model.name, result.windows).to_dict()


@pytest.mark.parametrize("name", ["noise.wav", "deep/tone.flac", "deep/silence.ogg"])
def test_the_answers_are_those_of_the_library(service: Any, model: Model, sounds: Path, name: str) -> None:
    file = sounds / name
    assert send(service, "tag", file, top_k=3).json() == [expected(model, file, top_k=3)]
    assert send(service, "caption", file, hop=1).json() == [expected(model, file, captions=True, hop=1)]


def test_a_raw_body_is_the_same_as_a_form(service: Any, sounds: Path) -> None:
    file = sounds / "noise.wav"
    raw = service.client.post("/v1/tag", content=file.read_bytes(), params={"name": "noise.wav"})
    assert raw.text == send(service, "tag", file).text


def test_concurrent_requests_get_their_own_answers(service: Any, model: Model, sounds: Path) -> None:
    files = [sounds / "noise.wav", sounds / "deep" / "tone.flac", sounds / "deep" / "silence.ogg"] * 6
    questions = [{"top_k": 1 + number % 4} for number in range(len(files))]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda file, query: send(service, "tag", file, **query), files, questions))
    assert [answer.json()[0] for answer in answers] == [
        expected(model, file, **question) for file, question in zip(files, questions, strict=True)
    ]


@pytest.mark.parametrize("format", MEDIA_TYPES)
def test_every_format_is_that_of_the_command(
    service: Any, tiny_model: Path, sounds: Path, monkeypatch: pytest.MonkeyPatch, format: str
) -> None:
    monkeypatch.chdir(sounds)
    answer = send(service, "tag", Path("noise.wav"), format=format)
    assert answer.headers["content-type"] == MEDIA_TYPES[format]
    printed = CliRunner().invoke(app, ["tag", "noise.wav", "-f", format, "--model", str(tiny_model), "--workers", "1"])
    assert answer.text == printed.stdout
