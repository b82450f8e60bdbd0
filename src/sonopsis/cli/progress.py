"""How far a run is, how fast, and how long it will still take: a line on a terminal, nothing anywhere else."""

import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sonopsis.results import FileResult, Part


@dataclass
class Course:
    """What the parts of a run say about its course.

    `length` tells how many seconds a recording lasts that has not ended, None if that is unknown.
    """

    files: int
    length: Callable[["FileResult"], float | None]
    clock: Callable[[], float] = time.monotonic
    ended: int = 0  # recordings
    heard: float = 0.0  # seconds of those that have ended
    reached: float = 0.0  # seconds of the current one
    _current: str | None = None
    _lasts: float | None = None  # the current one, in seconds
    _began: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._began = self.clock()

    def take(self, part: "Part") -> None:
        """The next part."""
        result, window = part
        if window is None:
            self.ended += 1
            self.heard += result.duration if result.error is None else self.reached
            self.reached, self._current = 0.0, None
            return
        if self._current is None:
            self._current, self._lasts = result.path, self.length(result)
        self.reached = window.end

    @property
    def done(self) -> float | None:
        """Recordings that are done, with the share of the current one; None if nothing is known of a single one."""
        if self._current is None:
            return float(self.ended)
        if not self._lasts:
            return float(self.ended) if self.files > 1 else None
        return self.ended + min(self.reached / self._lasts, 1.0)

    @property
    def speed(self) -> str:
        """Seconds of sound for each second that passed."""
        passed = self.clock() - self._began
        times = (self.heard + self.reached) / max(passed, 1e-9)
        return f"{times:.0f} x real time" if times >= 10 else f"{times:.1f} x real time"


@contextmanager
def progress(files: int, quiet: bool, results_on_terminal: bool) -> Iterator[Callable[["Part"], None]]:
    """A bar over `files` recordings on a terminal; yields the function to call with each part of the run.

    There is no bar where results appear on the same screen: they are the progress.
    """
    if quiet or results_on_terminal or not files or not sys.stderr.isatty():
        yield lambda part: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    course = Course(files, _length)
    left = (TimeRemainingColumn(), TextColumn("left"))
    columns = (BarColumn(), TextColumn("{task.fields[counted]}"), TextColumn("{task.fields[speed]}"), *left)
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False) as bar:
        task = bar.add_task("", total=files, counted=f"0/{files} files", speed="")

        def take(part: "Part") -> None:
            course.take(part)
            done = course.done
            bar.update(
                task,
                total=None if done is None else files,
                completed=done or 0.0,
                counted=f"{course.ended}/{files} files",
                speed=course.speed,
            )

        yield take


def _length(result: "FileResult") -> float | None:
    from sonopsis.audio import AudioError, declared_duration

    if math.isfinite(result.duration):
        return result.duration
    if not os.path.isfile(result.path):  # a pipe can be read once: opening it again would wait for ever
        return None
    try:
        return declared_duration(result.path)
    except (AudioError, OSError):  # a file that is gone by now, or changes
        return None
