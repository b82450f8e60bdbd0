"""What is refused: with which status, which code, and without anything left behind."""

import gzip
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

WAV = b"RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x80\x3e\x00\x00\x00\x7d\x00\x00\x02\x00\x10\x00"

FLAC = b"fLaC\x00\x00\x00\x22\x10\x00\x10\x00\x00\x00\x00\x00\x00\x00\x03\xe8\x00\xf0\x00\x00\x3e\x80" + bytes(16)


@pytest.fixture(scope="module")
def strict(tiny_model: Path, running: Any) -> Iterator[Any]:
    options = ("--max-size", 0.1, "--max-duration", 2, "--timeout", 1, "--workers", 1)
    with running("--model", tiny_model, *options, SONOPSIS_API_KEY="secret") as found:
        found.client.headers["X-API-Key"] = "secret"
        yield found


def refused(answer: Any, status: int, code: str) -> str:
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
    return str(answer.json()["error"]["message"])


def wav(folder: Path, seconds: float) -> bytes:
    soundfile.write(folder / "a.wav", np.zeros(round(16_000 * seconds)), 16_000)
    return (folder / "a.wav").read_bytes()


def test_the_key(strict: Any, tmp_path: Path) -> None:
    sound = wav(tmp_path, 1)
    for headers in ({"X-API-Key": "secrets"}, {"X-API-Key": ""}, {"X-API-Key": "", "Authorization": "Bearer ä"}):
        raw = {name: value.encode() for name, value in headers.items()}
        answer = strict.client.post("/v1/tag", content=sound, headers=raw)
        refused(answer, 401, "unauthorised")
        assert answer.headers["www-authenticate"] == "Bearer"
    bearer = {"X-API-Key": "", "Authorization": "Bearer secret"}
    assert strict.client.post("/v1/tag", content=sound, headers=bearer).status_code == 200
    assert strict.client.get("/healthz", headers={"X-API-Key": ""}).status_code == 200
    assert strict.client.get("/v1/model", headers={"X-API-Key": ""}).status_code == 401


def test_the_description_says_where_the_key_goes(strict: Any, service: Any) -> None:
    described = strict.client.get("/openapi.json").json()
    schemes = described["components"]["securitySchemes"]
    forms = {name: (scheme["type"], scheme.get("scheme"), scheme.get("name")) for name, scheme in schemes.items()}
    assert set(forms.values()) == {("http", "bearer", None), ("apiKey", None, "X-API-Key")}
    assert [scheme["in"] for scheme in schemes.values() if scheme["type"] == "apiKey"] == ["header"]
    for path, operations in described["paths"].items():
        for operation in operations.values():
            either = [{name: []} for name in sorted(forms)] if path.startswith("/v1/") else []
            assert sorted(operation.get("security", []), key=list) == either, path
    assert "securitySchemes" not in service.client.get("/openapi.json").json()["components"]


def test_a_compressed_body(service: Any, tmp_path: Path) -> None:
    sound = wav(tmp_path, 1)
    for route in ("tag", "events", "patches"):
        answer = service.client.post(f"/v1/{route}", content=gzip.compress(sound), headers={"Content-Encoding": "gzip"})
        message = refused(answer, 415, "content_encoding")
        assert "gzip" in message and "uncompressed" in message and answer.headers["accept-encoding"] == "identity"
    answer = service.client.post("/v1/convert", content=gzip.compress(b"[]"), headers={"Content-Encoding": "gzip"})
    refused(answer, 415, "content_encoding")
    plain = service.client.post("/v1/tag", content=sound, headers={"Content-Encoding": "identity"})
    assert plain.status_code == 200


def test_too_many_bytes(strict: Any, tmp_path: Path) -> None:
    large = bytes(300_000)
    refused(strict.client.post("/v1/tag", content=large), 413, "too_large")
    refused(strict.client.post("/v1/tag", content=iter([large[:60_000]] * 5)), 413, "too_large")  # no content-length
    refused(strict.client.post("/v1/tag", files={"file": large}), 413, "too_large")
    assert strict.temporary() == []


def test_too_many_results(start: Callable[..., Any], tiny_model: Path) -> None:
    service = start("--model", tiny_model, "--max-size", 200, "--max-duration", 2)  # at least 1 MB of results
    window = b'{"start": 0, "end": 1, "caption": "' + 1000 * b"a" + b'"}'
    enough, many = (b'[{"path": "a.wav", "windows": [%b]}]' % b", ".join([window] * count) for count in (900, 1000))
    assert service.client.post("/v1/convert", content=enough).status_code == 200
    refused(service.client.post("/v1/convert", content=many), 413, "too_large")
    refused(service.client.post("/v1/convert", content=iter([many[:600_000], many[600_000:]])), 413, "too_large")
    refused(service.client.post("/v1/convert", files={"file": many}), 413, "too_large")
    assert service.client.post("/v1/tag", content=b"." + many).status_code == 415  # the limit is that of results alone
    assert service.temporary() == []


def test_too_many_seconds(strict: Any, tmp_path: Path) -> None:
    refused(strict.client.post("/v1/tag", content=wav(tmp_path, 2.5)), 413, "too_long")
    soundfile.write(tmp_path / "a.mp3", np.zeros(40_000), 16_000)
    refused(strict.client.post("/v1/tag", content=(tmp_path / "a.mp3").read_bytes()), 413, "too_long")
    assert strict.temporary() == []


def test_an_upload_that_stalls(strict: Any) -> None:
    def slow() -> Iterator[bytes]:
        yield WAV
        time.sleep(2)
        yield WAV

    refused(strict.client.post("/v1/tag", content=slow()), 408, "upload_stalled")
    assert strict.temporary() == []


@pytest.mark.slow
def test_an_upload_lasts_no_longer_than_its_size_allows(start: Callable[..., Any], tiny_model: Path) -> None:
    service = start("--model", tiny_model, "--timeout", 3, "--workers", 1, "--queue", 0)
    ended = threading.Event()

    def sent(size: int, pieces: int) -> Iterator[bytes]:
        for _ in range(pieces):
            if ended.wait(0.2):
                return
            yield size * b"."

    refused(service.client.post("/v1/tag", content=sent(20_000, 30)), 415, "not_a_recording")  # in 6 s, but 600 kB
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(service.client.post, "/v1/tag", content=sent(1, 3000))
        try:
            message = refused(slow.result(60), 408, "upload_stalled")
        finally:
            ended.set()
    assert "too slow" in message
    assert service.client.get("/healthz").json()["places"]["taken"] == 0
    assert service.temporary() == []


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"", 422, "empty_upload"),
        (b"What is this?" * 100, 415, "not_a_recording"),
        (WAV + b"data\x00\x00\x00\x00", 422, "bad_audio"),
        (FLAC + b"\xff\xf8noise" * 500, 422, "bad_audio"),  # a container without a packet of sound
    ],
)
def test_what_is_no_recording(service: Any, content: bytes, status: int, code: str) -> None:
    message = refused(service.client.post("/v1/tag", content=content, params={"name": "odd.wav"}), status, code)
    assert str(service.scratch) not in message
    assert code == "empty_upload" or message.startswith("odd.wav: ")
    assert service.temporary() == []


def test_forms_that_are_none(service: Any, sounds: Path) -> None:
    sound = (sounds / "noise.wav").read_bytes()
    assert "'sound'" in refused(service.client.post("/v1/tag", files={"sound": sound}), 400, "bad_form")
    several = [("file", ("a.wav", sound)), ("file", ("b.wav", sound))]
    assert "several" in refused(service.client.post("/v1/tag", files=several), 400, "bad_form")
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    cut = b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nabc'
    assert "no end" in refused(service.client.post("/v1/tag", content=cut, headers=kind), 400, "bad_form")
    for headers in (kind, {"Content-Type": "multipart/form-data"}):
        refused(service.client.post("/v1/tag", content=b"abc", headers=headers), 400, "bad_form")


def test_parameters_that_make_no_sense(service: Any, sounds: Path) -> None:
    sound = (sounds / "noise.wav").read_bytes()
    for query in ({"top_k": 0}, {"keep_rate": 0}, {"hop": "nan"}, {"tops": 3}, {"window": 100}, {"format": "npz"}):
        message = refused(service.client.post("/v1/tag", content=sound, params=query), 422, "bad_parameter")
        assert next(iter(query)) in message
    refused(service.client.post("/v1/tags", content=sound), 404, "not_found")
    refused(service.client.get("/v1/tag"), 405, "method_not_allowed")
