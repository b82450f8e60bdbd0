"""A service in a process of its own, started by the command, at a free port; and its page, as a visitor uses it."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

import sonopsis
from sonopsis.many import cores
from sonopsis.model import Model

httpx = pytest.importorskip("httpx2", reason="httpx2 comes with huggingface-hub")
for name in ("fastapi", "uvicorn", "python_multipart", "prometheus_client"):
    pytest.importorskip(name, reason="the extra serve is not installed")


PATIENCE = 60  # seconds that a visitor waits


@dataclass(frozen=True)
class Running:
    """A service that runs: its client, its process, and the folder in which it may put temporary files."""

    client: Any
    process: subprocess.Popen[str]
    scratch: Path

    @property
    def address(self) -> str:
        """Where it is, with a slash at the end."""
        return f"{str(self.client.base_url).rstrip('/')}/"

    def events(self, content: bytes, **query: Any) -> list[tuple[str, Any]]:
        """What `/v1/events` sends of a recording: the name and the data of each event of the stream."""
        answer = self.client.post("/v1/events", content=content, params=query)
        assert answer.headers["content-type"].startswith("text/event-stream")
        blocks = [block.split("\n") for block in answer.text.removesuffix("\n\n").split("\n\n")]
        return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in blocks]

    def temporary(self) -> list[Path]:
        """The uploads that it keeps at the moment."""
        return [path for path in self.scratch.rglob("*") if path.is_file()]

    def stop(self, patience: float = 300) -> int:
        """End it as a supervisor does, which waits so many seconds; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(patience)


Start = Callable[..., Running]


@contextmanager
def running(*options: object, **environment: str) -> Iterator[Running]:
    """`sonopsis serve` with options."""
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="serve-test-")))
        command = [sys.executable, "-m", "sonopsis", "serve", "--port", "0", *map(str, options)]
        process = subprocess.Popen(
            command,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(scratch), **environment},
        )
        stack.enter_context(process)
        stack.callback(process.kill)
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.search(r"http://\S+", line)
        assert found, line + process.stderr.read()
        client = stack.enter_context(httpx.Client(base_url=found[0], timeout=300))
        yield Running(client, process, scratch)


@pytest.fixture(scope="session", name="running")
def running_service() -> Callable[..., Any]:
    """`with running("--queue", 1) as service:`, for fixtures of a module."""
    return running


@pytest.fixture
def start() -> Iterator[Start]:
    """`start("--queue", 1)`: a service with these options, which ends with the test."""
    with ExitStack() as stack:
        yield lambda *options, **environment: stack.enter_context(running(*options, **environment))


@pytest.fixture(scope="session")
def service(tiny_model: Path) -> Iterator[Running]:
    """A service with the tiny model, for all tests that leave it as it is."""
    # As many as cores: each computes with one thread, as the tests do; the last digit of a score depends on it.
    with running("--model", tiny_model, "--workers", max(2, cores())) as found:
        yield found


@pytest.fixture(scope="session")
def answering(answering_model: Path) -> Iterator[Running]:
    """A service that answers questions, for all tests that leave it as it is."""
    with running("--model", answering_model) as found:
        yield found


@pytest.fixture(scope="session")
def model(tiny_model: Path) -> Model:
    """The model of `service`, in this process."""
    return sonopsis.load(tiny_model)


@pytest.fixture
def address(service: Running) -> str:
    """Where `service` is, with a slash at the end."""
    return service.address


class Held:
    """A recording whose first half has been sent, and whose request has a place; the rest comes when it is released."""

    def __init__(self, service: Running, route: str, content: bytes, query: dict[str, Any]) -> None:
        self._go = threading.Event()
        self._pool = ThreadPoolExecutor(1)
        self._answer = self._pool.submit(service.client.post, route, content=self._halves(content), params=query)

    def _halves(self, content: bytes) -> Iterator[bytes]:
        yield content[: len(content) // 2]
        self._go.wait(PATIENCE)
        yield content[len(content) // 2 :]

    def release(self) -> None:
        """Let the rest be sent."""
        self._go.set()

    def answer(self) -> Any:
        """The service's answer."""
        return self._answer.result(PATIENCE)

    def close(self) -> None:
        """Send what is not yet sent, and wait."""
        self.release()
        self._pool.shutdown()


@pytest.fixture(scope="session")
def held() -> Callable[..., Any]:
    """`with held(service, route, content, **query) as upload:`, once the service has given it a place."""

    @contextmanager
    def hold(service: Running, route: str, content: bytes, **query: Any) -> Iterator[Held]:
        def taken() -> int:
            return int(service.client.get("/healthz").json()["places"]["taken"])

        before = taken()
        with closing(Held(service, route, content, query)) as upload:
            for _ in range(600):
                if taken() > before:
                    break
                time.sleep(0.01)
            assert taken() > before, "no place was taken"
            yield upload

    return hold


class Page:
    """What a visitor does and sees."""

    def __init__(self, browser: Any, address: str) -> None:
        self.browser, self.address = browser, address
        browser.get(address)
        self.wait(lambda: self.all("#waveform > *"))  # the page's own program has run; the driver does not wait for it

    def __getitem__(self, name: str) -> Any:
        return self.browser.find_element(By.ID, name)

    def all(self, selector: str) -> list[Any]:
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def run(self, script: str, *arguments: Any) -> Any:
        return self.browser.execute_script(script, *arguments)

    def wait(self, condition: Callable[[], object]) -> None:
        WebDriverWait(self.browser, PATIENCE, 0.05).until(lambda _: condition())

    def until_done(self) -> None:
        """Wait for the end of the work; an error on the page fails."""
        self.wait(lambda: self["status"].text.startswith("Done") or self["error"].text)
        assert self["error"].text == ""

    def open(self, recording: Path) -> None:
        self["file"].send_keys(str(recording))
        self.until_done()

    def press(self, *keys: str) -> None:
        ActionChains(self.browser).send_keys(*keys).perform()

    def keep(self, rate: float) -> None:
        """Move the slider by its keys."""
        slider = self["keep"]
        slider.send_keys(Keys.END)
        slider.send_keys(Keys.ARROW_LEFT * round(10 * (1 - rate)))
        assert float(slider.get_property("value")) == rate

    def seek(self, seconds: float) -> None:
        """Move the position as the slider does."""
        self.run(
            "const position = document.getElementById('position');"
            "position.value = arguments[0]; position.dispatchEvent(new Event('input'))",
            seconds,
        )

    def pixels(self) -> np.ndarray:
        """The spectrogram (T, M, 4), low bins first."""
        width, height, values = self.run(
            "const canvas = document.getElementById('spectrogram'), { width, height } = canvas;"
            "const { data } = canvas.getContext('2d').getImageData(0, 0, width, height);"
            "return [width, height, Array.from(data)]"
        )
        return np.array(values).reshape(height, width, 4)[::-1].transpose(1, 0, 2)


@pytest.fixture(scope="session")
def visit(browser: Any) -> Callable[[str], Page]:
    """Opens the page at an address."""
    return lambda address: Page(browser, address)
