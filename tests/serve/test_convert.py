"""POST /v1/convert writes results as the command line would have written them at once."""

import io
import json
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from sonopsis.events import join_windows
from sonopsis.model import Model, Request
from sonopsis.results import FileResult
from sonopsis.writers import write

FORMATS = ("json", "jsonl", "csv", "tsv", "srt", "vtt", "audacity", "raven")


def written(result: FileResult, format: str) -> str:
    stream = io.StringIO()
    write([result], format, stream)
    return stream.getvalue()


def convert(address: str, body: str, query: str) -> str:
    with urllib.request.urlopen(f"{address}v1/convert?{query}", body.encode()) as answer:
        return answer.read().decode()


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("captions", [False, True])
def test_every_format_has_the_same_bytes(address: str, model: Model, sounds: Path, format: str, captions: bool) -> None:
    result = model.describe(sounds / "noise.wav", Request(captions=captions))
    assert convert(address, written(result, "json"), f"format={format}") == written(result, format)


def test_windows_are_joined_into_events(address: str, model: Model, sounds: Path) -> None:
    result = model.describe(sounds / "noise.wav", Request(window=2, hop=1, threshold=0.4))
    joined = FileResult(result.path, result.duration, result.model, list(join_windows(result.windows)))
    assert convert(address, written(result, "json"), "format=audacity&events=true") == written(joined, "audacity")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("nothing", "the body"),
        ("[]", "the body"),
        ('[{"windows": []}]', "0.path"),
        ('[{"path": "a", "windows": [{"start": -1, "end": 2}]}]', "0.windows.0.start"),
        ('[{"path": "a", "windows": [{"start": 0, "end": 1e308}]}]', "0.windows.0.end"),
        ('[{"path": "a", "windows": [{"start": 0, "end": 1, "labels": [{"label": "Dog", "score": 2}]}]}]', "score"),
    ],
)
def test_other_bodies_are_refused(address: str, body: str, words: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as error:
        convert(address, body, "format=srt")
    assert error.value.code == 422 and words in json.load(error.value)["error"]["message"]


def test_a_parameter_that_does_not_exist_is_refused(address: str) -> None:
    for query in ("event=true", "format=srt&captions=true"):
        with pytest.raises(urllib.error.HTTPError) as error:
            convert(address, '[{"path": "a"}]', query)
        answer = json.load(error.value)["error"]
        assert (error.value.code, answer["code"]) == (422, "bad_parameter")
        assert query.split("&")[-1].split("=")[0] in answer["message"]
