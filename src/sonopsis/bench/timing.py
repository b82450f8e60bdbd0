"""Wall-clock times of variants of the same work, interleaved, each in a process of its own.

Times of separate runs cannot be compared: a machine is slower when it is warm, or when somebody else uses it. So there
is one run of many rounds. Every variant works once in each round, and the order changes from round to round. Thread
pools and allocators of two libraries in one process disturb each other, so each variant has a process of its own. It is
stopped (SIGSTOP) while others work, because some threads spin while they wait and would take time from the others.
"""

import json
import os
import pickle
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sonopsis.bench.child import CORES, Sample, Worker

CAN_STOP = hasattr(signal, "SIGSTOP")
SOURCE = Path(__file__).parents[2]  # the folder that contains the package


class BenchError(ValueError):
    """A variant could not be prepared or run; the message names it."""


@dataclass(frozen=True)
class Variant:
    """One way to do the work that is timed.

    `prepare` is called once, in the process that measures, and returns the function that is timed. For a process of
    its own it must be picklable by name: `functools.partial(function_of_a_module, arguments...)`. What is imported,
    loaded and compiled in `prepare` is not timed.
    """

    name: str
    engine: str  # what computes: torch, openvino, onnx, transformers, ...
    precision: str  # float32, bfloat16, int8
    keep_rate: float | None  # None: nothing to prune
    prepare: Callable[[], Callable[[], object]]
    extra: Mapping[str, Any] = field(default_factory=dict)  # further columns of its row, JSON values
    environment: Mapping[str, str] = field(default_factory=dict)  # for its process: threads, allocator
    units: int = 1  # pieces of work (clips, tokens) in one call; times are for one of them


@dataclass(frozen=True)
class Measured:
    """The measurements of a variant: seconds for one unit in each round, in order, and resident memory in MiB."""

    variant: Variant
    seconds: tuple[float, ...]
    peak_mib: float | None  # the largest in a timed call; None if the system does not tell
    idle_mib: float | None  # between preparation and the first call

    def quantile(self, q: float) -> float:
        """A quantile of the times in milliseconds."""
        return float(np.quantile(self.seconds, q)) * 1e3


def measure(
    variants: Sequence[Variant],
    *,
    rounds: int = 10,
    warmup: int = 1,
    seed: int = 0,
    isolated: bool = True,
    threads: int | None = None,
    on_round: Callable[[int], None] = lambda done: None,
    on_failure: Callable[[Variant, "BenchError"], None] | None = None,
) -> list[Measured]:
    """Time every variant once in each of `rounds` rounds, after `warmup` rounds that do not count.

    The order within a round is drawn with `seed`. With `isolated` each variant runs in a process of its own, which
    finds the modules that this one finds; otherwise all variants run in this process. `threads` limits each process to
    that many cores, and OpenMP to as many threads. `on_round` is called with the number of rounds done, warm-up
    included. `on_failure` is called with a variant that cannot be prepared, which is then left out; without it
    BenchError is raised, as for every other failure of a variant. Raises ValueError when there is nothing to do.
    """
    if rounds < 1 or warmup < 0:
        raise ValueError(f"rounds must be at least 1 and warmup at least 0, not {rounds} and {warmup}")
    names = [variant.name for variant in variants]
    if len(set(names)) < len(names) or not names:
        raise ValueError(f"give at least one variant, and each variant a name of its own: {names}")
    samples: dict[str, list[Sample]] = {name: [] for name in names}
    with ExitStack() as stack:
        # One after the other: preparing takes most memory, and all cores.
        workers: dict[str, _Here | _Child] = {}
        for variant in variants:
            try:
                worker = stack.enter_context(closing(_Child(variant, threads))) if isolated else _Here(variant)
            except BenchError as error:
                if on_failure is None:
                    raise
                on_failure(variant, error)
            else:
                workers[variant.name] = worker
        for number, order in enumerate(orders(list(workers), rounds + warmup, seed)):
            for name in order:
                sample = workers[name].run()
                if number >= warmup:
                    samples[name].append(sample)
            on_round(number + 1)
    return [_measured(variant, samples[variant.name]) for variant in variants if variant.name in workers]


def environment(path: Sequence[str] = ()) -> dict[str, str]:
    """The environment for a new Python that imports this package, and modules from the folders in `path`."""
    folders = [str(SOURCE), *path, os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, folders))}


def orders(names: Sequence[str], rounds: int, seed: int) -> Iterator[list[str]]:
    """The order of work of each round: all names once, shuffled anew."""
    generator = random.Random(seed)
    for _ in range(rounds):
        order = list(names)
        generator.shuffle(order)
        yield order


def _measured(variant: Variant, samples: list[Sample]) -> Measured:
    peaks = [sample.peak_mib for sample in samples if sample.peak_mib is not None]
    seconds = tuple(sample.seconds / variant.units for sample in samples)
    return Measured(variant, seconds, max(peaks, default=None), samples[0].idle_mib)


class _Here:
    """A variant in this process."""

    def __init__(self, variant: Variant) -> None:
        self.name = variant.name
        with self._named():
            self._worker = Worker(variant.prepare)

    def run(self) -> Sample:
        with self._named():
            return self._worker.run()

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            raise BenchError(f"{self.name}: {type(error).__name__}: {error}") from error


class _Child:
    """The parent's end of a fresh process that runs `sonopsis.bench.child`: prepared, and stopped between calls."""

    def __init__(self, variant: Variant, threads: int | None = None) -> None:
        self.name = variant.name
        limit = {} if threads is None else {"OMP_NUM_THREADS": str(threads), CORES: str(threads)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from sonopsis.bench.child import main; main()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**environment(sys.path), **limit, **variant.environment},
        )
        try:
            pickle.dump(variant.prepare, self._stdin)
            self._answer()
        except BaseException:
            self.close()
            raise
        self._stop()

    def run(self) -> Sample:
        """One timed call."""
        if CAN_STOP:
            self.process.send_signal(signal.SIGCONT)
        self._stdin.write(b"run\n")
        sample = Sample(**self._answer())
        self._stop()
        return sample

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self.process.kill()
        for pipe in (self._stdin, self._stdout):
            with suppress(OSError):  # there may be what it has not read
                pipe.close()
        self.process.wait()

    def _stop(self) -> None:
        if CAN_STOP:
            self.process.send_signal(signal.SIGSTOP)

    def _answer(self) -> dict[str, Any]:
        try:
            self._stdin.flush()
            line = self._stdout.readline()
        except BrokenPipeError:
            line = b""
        if not line:
            raise BenchError(f"{self.name}: its process ended with status {self.process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise BenchError(f"{self.name}: {answer['error']}")
        return answer

    @property
    def _stdin(self) -> Any:
        return self.process.stdin

    @property
    def _stdout(self) -> Any:
        return self.process.stdout
