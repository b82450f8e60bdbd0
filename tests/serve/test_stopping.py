"""SIGTERM while requests run: what was accepted is answered, nothing new is, the exit status is 0, no file is left."""

import json
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

httpx = pytest.importorskip("httpx2", reason="httpx2 comes with huggingface-hub")


def test_what_was_accepted_is_answered(
    start: Callable[..., Any], held: Callable[..., Any], tiny_model: Path, sounds: Path
) -> None:
    service, content = start("--model", tiny_model, "--workers", 1), (sounds / "noise.wav").read_bytes()
    expected = service.client.post("/v1/caption", content=content, params={"name": "noise.wav"}).json()
    with ExitStack() as stack:
        many = {"name": "noise.wav", "window": 0.5, "hop": 0.2}  # 28 windows
        stream = stack.enter_context(service.client.stream("POST", "/v1/events", content=content, params=many))
        lines = stream.iter_lines()
        assert next(lines) == "event: window"  # the stream has begun, and the uploads are half here
        accepted = [stack.enter_context(held(service, "/v1/caption", content, name="noise.wav")) for _ in range(3)]
        service.process.send_signal(signal.SIGTERM)
        wait_until_refused(service)
        for upload in accepted:
            upload.release()
        for upload in accepted:
            answer = upload.answer()
            assert (answer.status_code, answer.json()) == (200, expected)
        data = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
        end = {"path": "noise.wav", "duration": 6.0, "model": "tiny", "windows": windows(data), "times": "windows"}
        assert data[-1] == end
    assert service.process.wait(60) == 0
    assert list(service.scratch.rglob("sonopsis-serve-*")) == [] and service.temporary() == []


def test_after_ctrl_c_the_status_is_that_of_every_command(start: Callable[..., Any], tiny_model: Path) -> None:
    service = start("--model", tiny_model)
    service.process.send_signal(signal.SIGINT)
    assert service.process.wait(60) == 130
    assert list(service.scratch.rglob("sonopsis-serve-*")) == []


@pytest.mark.slow
def test_a_second_ctrl_c_ends_what_is_computed(start: Callable[..., Any], answering_model: Path, sounds: Path) -> None:
    service, content = start("--model", answering_model, "--workers", 1), (sounds / "noise.wav").read_bytes()
    many = {"question": [f"is there a dog {number} times?" for number in range(32)], "window": 1, "hop": 0.01}
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(service.client.post, "/v1/ask", content=content, params=many)  # minutes of work
        while service.client.get("/healthz").json()["places"]["taken"] == 0:
            time.sleep(0.05)
        service.process.send_signal(signal.SIGINT)
        wait_until_refused(service)
        assert not asked.done()
        service.process.send_signal(signal.SIGINT)
        assert service.process.wait(60) == 130


def windows(data: list[dict[str, Any]]) -> int:
    """How many windows a stream had."""
    return sum("status" in found for found in data)


def wait_until_refused(service: Any) -> None:
    """Until the service accepts no connection any more."""
    for _ in range(600):
        try:
            httpx.get(service.client.base_url.join("/healthz"), timeout=60)
        except httpx.TransportError:
            return
        time.sleep(0.05)
    raise AssertionError("the service still accepts connections")
