"""Threads that run one function together."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch

from sonopsis.mamba2.kernels import threads


def meet(size: int) -> tuple[Callable[..., None], list[tuple[int, int, int]]]:
    """A function that returns when `size` threads are in it, and what it was called with, by which threads."""
    together, calls = threading.Barrier(size, timeout=30), list[tuple[int, int, int]]()

    def kernel(word: str, thread: int, count: int) -> None:
        assert word == "work"
        calls.append((thread, count, threading.get_ident()))
        together.wait()

    return kernel, calls


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_team_meets(size: int) -> None:
    for _ in range(3):
        kernel, calls = meet(size)
        threads.team(size).run(kernel, ("work",))
        assert sorted(call[:2] for call in calls) == [(i, size) for i in range(size)]
        assert len({call[2] for call in calls}) == size


@pytest.mark.parametrize("library", [None, "torch's"])
def test_beside_torch(library: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """On torch's threads where there are any, on others where not; the caller is one of them."""
    if library is None:
        monkeypatch.setattr(threads, "_openmp", lambda: None)
    elif threads._openmp() is None:
        pytest.skip("torch computes with another OpenMP here")
    torch.ones(600, 600) @ torch.ones(600, 600)
    for _ in range(3):
        kernel, calls = meet(2)
        threads.run_beside_torch(kernel, ("work",), 2)
        assert sorted(call[:2] for call in calls) == [(0, 2), (1, 2)]
        assert threading.get_ident() in {call[2] for call in calls}


def test_one_thread_needs_no_team() -> None:
    found: list[Any] = []
    threads.run_beside_torch(lambda *arguments: found.append(arguments), ("alone",), 1)
    assert found == [("alone", 0, 1)]
