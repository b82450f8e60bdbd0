"""The listing people read in a terminal."""

import math

from sonopsis.results import FileResult, WindowResult
from sonopsis.writers.base import StreamedWriter, one_line


class TextWriter(StreamedWriter):
    """A line per file; below it a line per window with times and tags, and the caption under the tags."""

    suffix = ".txt"
    needs_duration = True

    def opening(self, result: FileResult) -> str:
        """The file's name and length, which nobody knows of a stream that has not ended."""
        length = f"{result.duration:.1f} s" if math.isfinite(result.duration) else "length unknown"
        return f"{one_line(result.path)}  ({length})\n"

    def row(self, result: FileResult, window: WindowResult) -> str:
        """The window's lines."""
        return _lines(window)

    def closing(self, result: FileResult) -> str:
        """The summary of a file, or the line of one that failed."""
        if result.error is None:
            return "" if result.summary is None else f"  summary: {one_line(result.summary.text)}\n"
        path = one_line(result.path)
        reason = one_line(result.error).removeprefix(f"{path}: ")
        return f"{path}  error: {reason}\n"


def _lines(window: WindowResult) -> str:
    times = f"  {_clock(window.start):>7} - {_clock(window.end):>7}  "
    said = []
    if window.labels is not None:
        said.append("; ".join(f"{one_line(label)} {score:.2f}" for label, score in window.labels) or _unclear(window))
    if window.caption is not None:
        said.append(one_line(window.caption))
    return times + ("\n" + " " * len(times)).join(said or ["(nothing asked)"]) + "\n"


def _unclear(window: WindowResult) -> str:
    if window.guess is None:
        return "(no label)"
    return f"unclear; best guess: {one_line(window.guess.label)} {window.guess.score:.2f}"


def _clock(seconds: float) -> str:
    """Seconds as 1:02:03.4, without hours below one hour."""
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}:{minutes:02d}" if hours else f"{minutes}") + f":{rest // 10:02d}.{rest % 10}"
