"""Threads that run one compiled function together. No torch; beside torch its own threads are borrowed."""

import ctypes
import os
import threading
from functools import cache
from queue import SimpleQueue
from typing import Any


class Team:
    """Threads that run one compiled function together, the caller among them."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._queues: list[SimpleQueue[Any]] = [SimpleQueue() for _ in range(size - 1)]
        # Calls reach every thread in one order, or two of them would wait for each other.
        self._order = threading.Lock()
        for number, queue in enumerate(self._queues, 1):
            threading.Thread(target=self._work, args=(number, queue), daemon=True).start()

    def _work(self, number: int, queue: "SimpleQueue[Any]") -> None:
        while True:
            kernel, arguments = queue.get()
            kernel(*arguments, number, self.size)
            del kernel, arguments

    def run(self, kernel: Any, arguments: tuple[Any, ...]) -> None:
        """kernel(*arguments, thread, threads) on all threads; it waits for the others by itself."""
        with self._order:
            for queue in self._queues:
                queue.put((kernel, arguments))
        kernel(*arguments, 0, self.size)


_teams: dict[int, Team] = {}
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_teams.clear)  # threads do not survive a fork


def team(size: int) -> Team:
    """The process's team of `size` threads."""
    if size not in _teams:
        _teams[size] = Team(size)
    return _teams[size]


def run_beside_torch(kernel: Any, arguments: tuple[Any, ...], threads: int) -> None:
    """kernel(*arguments, thread, threads) on the threads torch computes with, or on our own where they are of no use.

    Torch's threads spin for a while after every operation, for the next one: others would have to share their cores.
    """
    library = _openmp() if threads > 1 else None
    if library is None:
        team(threads).run(kernel, arguments)
        return

    def work(_: object) -> None:
        # There may be fewer threads than were asked for.
        kernel(*arguments, library.omp_get_thread_num(), library.omp_get_num_threads())

    library.GOMP_parallel(REGION(work), None, threads, 0)


REGION = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


@cache
def _openmp() -> ctypes.CDLL | None:
    """GCC's OpenMP, if this process holds it: wheels of torch for Linux bring it."""
    try:
        library = ctypes.CDLL("libgomp.so.1", mode=os.RTLD_NOLOAD | os.RTLD_NOW)
    except (AttributeError, OSError):  # another system, or another OpenMP
        return None
    library.GOMP_parallel.argtypes = (REGION, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
    library.GOMP_parallel.restype = None
    return library
