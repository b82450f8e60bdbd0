"""A service whose model only tags: typed errors in place of sentences and answers, and a page that shows the rest."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import sonopsis
from sonopsis.encoder.tagger import Tagger
from sonopsis.folder import describe
from sonopsis.many import cores
from sonopsis.model import Request
from sonopsis.modules import save


@pytest.fixture(scope="module")
def tagging_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model that tags 2.56 s at once, and has no language model."""
    found = describe(tiny_model)
    config = replace(found.config, connector=None, lm=None)
    folder = tmp_path_factory.mktemp("models") / "tagging"
    save(Tagger(config.encoder, len(config.labels)), folder, config, found.mel)
    return folder


@pytest.fixture(scope="module")
def tagging(tagging_model: Path, running: Callable[..., Any]) -> Iterator[Any]:
    with running("--model", tagging_model, "--workers", cores()) as service:  # one thread for each
        yield service


def test_what_the_model_lacks_is_a_typed_error_that_says_what_to_do(tagging: Any, sounds: Path) -> None:
    content = (sounds / "noise.wav").read_bytes()
    for route, query, code in (
        ("caption", {}, "no_captions"),
        ("events", {"captions": True}, "no_captions"),
        ("ask", {"question": "is there a dog?"}, "no_answers"),
    ):
        answer = tagging.client.post(f"/v1/{route}", content=content, params=query)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (404, code)
        assert error["message"].startswith("tagging only tags")
        assert "/v1/tag" in error["message"] and "sonopsis serve" in error["message"]
    assert tagging.temporary() == []


def test_the_description_has_what_there_is(tagging: Any) -> None:
    found = set(tagging.client.get("/openapi.json").json()["paths"])
    assert {"/v1/tag", "/v1/events", "/v1/patches", "/v1/convert"} <= found
    assert found & {"/v1/caption", "/v1/ask"} == set()


def test_tags_are_those_of_the_library(tagging: Any, tagging_model: Path, sounds: Path) -> None:
    file = sounds / "noise.wav"
    answer = tagging.client.post("/v1/tag", content=file.read_bytes(), params={"name": file.name})
    expected = sonopsis.load(tagging_model).describe(file, Request()).to_dict() | {"path": file.name}
    assert answer.json() == [expected]


def test_a_key_is_asked_for_before_anything_is_told(
    start: Callable[..., Any], tagging_model: Path, sounds: Path
) -> None:
    service = start("--model", tagging_model, "--workers", 1, SONOPSIS_API_KEY="secret")
    for route in ("caption", "ask", "events?captions=true"):
        content, key = (sounds / "noise.wav").read_bytes(), {"X-API-Key": "secret"}
        assert service.client.post(f"/v1/{route}", content=content).status_code == 401
        assert service.client.post(f"/v1/{route}", content=content, headers=key).status_code == 404


def test_a_model_that_captions_and_does_not_answer_says_so(service: Any, sounds: Path) -> None:
    answer = service.client.post("/v1/ask", content=(sounds / "noise.wav").read_bytes())
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "no_answers")
    assert "/v1/caption" in answer.json()["error"]["message"]


def test_the_page_shows_labels_events_and_patches_and_says_why_there_is_no_sentence(
    visit: Callable[[str], Any], tagging: Any, tagging_model: Path, sounds: Path
) -> None:
    page = visit(tagging.address)
    page.wait(lambda: page["lacking"].is_displayed())
    assert "only tags" in page["lacking"].text
    page.open(sounds / "noise.wav")
    tags = sonopsis.load(tagging_model).tag(sounds / "noise.wav")
    shown = [item.get_property("textContent") for item in page.all("#captions li > span")]
    assert shown == [", ".join(f"{label} {score:.2f}" for label, score in window.labels) for window in tags]
    assert page.all(".track button") and page["saving"].is_displayed()
    page.keep(0.5)
    assert page["tokens"].text == "128 → 64 → 32 → 16" and page["best"].text
    assert not page["asking"].is_displayed()


def test_the_page_of_a_model_that_captions_does_not_say_so(visit: Callable[[str], Any], address: str) -> None:
    page = visit(address)
    page.wait(lambda: page.run("return performance.getEntriesByName(location + 'openapi.json').length"))
    assert not page["lacking"].is_displayed()
