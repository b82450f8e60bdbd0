"""Requests that take too long: they are given up, their work ends, and others and the end of the service go on."""

import io
import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

LONG = 60  # seconds of sound, heard every 0.01 s: minutes of work
MANY = {"window": 1, "hop": 0.01}
QUESTIONS = [f"is there a dog {number} times?" for number in range(32)]


def noise(seconds: float) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, 0.1 * np.random.default_rng(0).standard_normal(round(16_000 * seconds)), 16_000, format="WAV")
    return file.getvalue()


@pytest.fixture(scope="module")
def hasty(answering_model: Path, running: Any) -> Iterator[Any]:
    """A service that computes one thing at a time, and not for long."""
    with running("--model", answering_model, "--workers", 1, "--queue", 0, "--timeout", 3) as found:
        yield found


def given_up(service: Any, route: str, content: bytes, **query: Any) -> None:
    answer = service.client.post(route, content=content, params=query)
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "timeout"), answer.text


def wait_until_free(service: Any, patience: float = 30) -> None:
    """Until no place is taken."""
    for _ in range(round(20 * patience)):
        if service.client.get("/healthz").json()["places"]["taken"] == 0:
            return
        time.sleep(0.05)
    raise AssertionError("the place is still taken")


@pytest.mark.slow
@pytest.mark.parametrize(("route", "query"), [("/v1/ask", {"question": QUESTIONS}), ("/v1/tag", {})])
def test_work_that_was_given_up_ends(hasty: Any, route: str, query: dict[str, Any]) -> None:
    given_up(hasty, route, noise(LONG), **MANY, **query)
    wait_until_free(hasty)
    answer = hasty.client.post("/v1/ask", content=noise(1), params={"question": "is there a dog?"})
    assert answer.status_code == 200, answer.text
    assert [file for file in hasty.temporary() if file.name.startswith("upload-")] == []


@pytest.mark.slow
def test_results_that_take_too_long_to_write_are_given_up(start: Callable[..., Any], tiny_model: Path) -> None:
    service = start("--model", tiny_model, "--workers", 1, "--queue", 0, "--timeout", 0.5, "--max-duration", 86_400)
    labels = [{"label": "Dog", "score": 1}]
    windows = [{"start": number, "end": number + 1, "labels": labels} for number in range(170_000)]
    body = json.dumps([{"path": "a.wav", "windows": windows}]).encode()
    given_up(service, "/v1/convert", body, format="raven")
    wait_until_free(service)
    assert service.client.post("/v1/convert", content=b'[{"path": "a.wav"}]').status_code == 200


@pytest.mark.slow
def test_who_does_not_read_events_loses_the_place(hasty: Any) -> None:
    content, address = noise(LONG), hasty.client.base_url
    query = "window=1&hop=0.01&threshold=0&top_k=1000"  # megabytes of events, more than a connection holds
    head = f"POST /v1/events?{query} HTTP/1.1\r\nHost: {address.host}\r\nContent-Length: {len(content)}\r\n\r\n"
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect((address.host, address.port))
        connection.sendall(head.encode() + content)
        assert connection.recv(1024).startswith(b"HTTP/1.1 200 ")
        assert hasty.client.get("/healthz").json()["places"]["taken"] == 1
        wait_until_free(hasty, 600)


@pytest.mark.slow
def test_work_that_was_given_up_does_not_keep_the_service_from_ending(
    start: Callable[..., Any], answering_model: Path
) -> None:
    service = start("--model", answering_model, "--workers", 1, "--timeout", 1)
    given_up(service, "/v1/ask", noise(LONG), **MANY, question=QUESTIONS)
    assert service.stop(60) == 0
    assert list(service.scratch.rglob("sonopsis-serve-*")) == []
