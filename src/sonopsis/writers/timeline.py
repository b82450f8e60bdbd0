"""Formats that know one timeline: files are laid end to end on it, each beginning where the one before it ended."""

from typing import TextIO

from sonopsis.results import FileResult, WindowResult
from sonopsis.writers.base import Writer


class TimelineWriter(Writer):
    """Keeps the second at which the next file begins; files that failed take no time."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self.offset = 0.0  # seconds

    def part(self, result: FileResult) -> str:
        """The file's cues or labels, moved to its place on the timeline."""
        if result.error is not None:
            return ""
        text = self.opening(result) + "".join(self.lines(result, window) for window in result.windows)
        self.offset += result.duration
        return text

    def opening(self, result: FileResult) -> str:
        """What stands before a file's windows."""
        return ""

    def lines(self, result: FileResult, window: WindowResult) -> str:
        """What is written of one window."""
        raise NotImplementedError
