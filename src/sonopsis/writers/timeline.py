"""Formats that know one timeline: files are laid end to end on it, each beginning where the one before it ended."""

from typing import Any, ClassVar

from sonopsis.results import FileResult, WindowResult
from sonopsis.writers.base import StreamedWriter


class TimelineWriter(StreamedWriter):
    """Keeps the second at which the next file begins; files that failed before their first window take no time."""

    memory: ClassVar[tuple[str, ...]] = ("offset",)

    def __init__(self, stream: Any, *, clock: bool = False) -> None:
        super().__init__(stream, clock=clock)
        self.offset = 0.0  # seconds
        self._reached = 0.0  # seconds of the current file that are written

    def row(self, result: FileResult, window: WindowResult) -> str:
        """The window's cue or labels, moved to their place on the timeline."""
        self._reached = window.end
        return self.lines(result, window)

    def closing(self, result: FileResult) -> str:
        """Nothing; the next file begins where this one ended."""
        self.offset += result.duration if result.error is None else self._reached
        self._reached = 0.0
        return ""

    def lines(self, result: FileResult, window: WindowResult) -> str:
        """What is written of one window."""
        raise NotImplementedError
