"""The process of one variant: it prepares the variant, runs it once for each line it reads, and answers with the time.

It reads a pickled function from standard input, and then lines; the answer to each is one line of JSON.
"""

import ctypes
import gc
import json
import os
import pickle
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from time import perf_counter

from sonopsis.bench.machine import peak_mib, reset_peak, resident_mib

KILL_WITH_PARENT = 1  # PR_SET_PDEATHSIG
CORES = "SONOPSIS_BENCH_CORES"  # in the environment: how many cores to stay on; not every engine reads OMP_NUM_THREADS


@dataclass(frozen=True)
class Sample:
    """One timed call: wall-clock seconds, the peak of resident memory in MiB, and the memory before the first call."""

    seconds: float
    peak_mib: float | None
    idle_mib: float | None


@dataclass(frozen=True)
class Elsewhere:
    """The result of a call whose work was done in another process: the peak of that process in MiB."""

    peak_mib: float | None


class Worker:
    """A prepared variant in this process."""

    def __init__(self, prepare: Callable[[], Callable[[], object]]) -> None:
        self._call = prepare()
        release_memory()
        self._idle_mib = resident_mib()

    def run(self) -> Sample:
        """Call it once; memory is read outside of the timed part."""
        reset_peak()
        start = perf_counter()
        result = self._call()
        seconds = perf_counter() - start
        if isinstance(result, Elsewhere):
            return Sample(seconds, result.peak_mib, None)
        return Sample(seconds, peak_mib(), self._idle_mib)


def release_memory() -> None:
    """Return freed memory to the system, so that the memory before the first call does not include it."""
    gc.collect()
    with suppress(AttributeError, OSError, TypeError):  # not glibc
        ctypes.CDLL(None).malloc_trim(0)


def _end_with_parent() -> None:
    """End this process when its parent ends, even if this process is stopped then."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(KILL_WITH_PARENT, 9)


def _stay_on_cores() -> None:
    if CORES in os.environ and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(os.environ[CORES])])


def main() -> None:
    """Serve the parent until it closes the pipe."""
    _end_with_parent()
    _stay_on_cores()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # text that libraries print must not be read as an answer

    def answer(**fields: object) -> None:
        print(json.dumps(fields), file=answers, flush=True)

    try:
        worker = Worker(pickle.load(sys.stdin.buffer))
        answer(ready=True)
        for _ in sys.stdin.buffer:
            answer(**asdict(worker.run()))
    except Exception as error:
        answer(error=f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
