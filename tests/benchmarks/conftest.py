"""The scripts of `benchmarks/`, run as a person runs them."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def script() -> Callable[..., subprocess.CompletedProcess[str]]:
    """`script("growth", "--rounds", 1)`: a script with its arguments in a process of its own, ending with `status`."""

    def run(name: str, *arguments: object, status: int = 0) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, str(BENCHMARKS / f"{name}.py"), *map(str, arguments)]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stderr
        return done

    return run
