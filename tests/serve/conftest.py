"""A service in a process of its own, started by the command, at a free port."""

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

httpx = pytest.importorskip("httpx2", reason="httpx2 comes with huggingface-hub")
for name in ("fastapi", "uvicorn", "python_multipart", "prometheus_client"):
    pytest.importorskip(name, reason="the extra serve is not installed")


@dataclass(frozen=True)
class Running:
    """A service that runs: its client, its process, and the folder in which it may put temporary files."""

    client: Any
    process: subprocess.Popen[str]
    scratch: Path

    def temporary(self) -> list[Path]:
        """The uploads that it keeps at the moment."""
        return [path for path in self.scratch.rglob("*") if path.is_file()]

    def stop(self) -> int:
        """End it as a supervisor does; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


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
        client = stack.enter_context(httpx.Client(base_url=found[0], timeout=60))
        yield Running(client, process, scratch)


@pytest.fixture
def start() -> Iterator[Start]:
    """`start("--queue", 1)`: a service with these options, which ends with the test."""
    with ExitStack() as stack:
        yield lambda *options, **environment: stack.enter_context(running(*options, **environment))


@pytest.fixture(scope="session")
def service(tiny_model: Path) -> Iterator[Running]:
    """A service with the tiny model, for all tests that leave it as it is."""
    with running("--model", tiny_model, "--workers", 2) as found:
        yield found
