"""The listing people read in a terminal."""

from sonopsis.results import FileResult, WindowResult
from sonopsis.writers.base import Writer, one_line


class TextWriter(Writer):
    """A line per file; below it a line per window with times and tags, and the caption under the tags."""

    suffix = ".txt"

    def part(self, result: FileResult) -> str:
        """The file's lines."""
        path = one_line(result.path)
        if result.error is not None:
            reason = one_line(result.error).removeprefix(f"{path}: ")
            return f"{path}  error: {reason}\n"
        return f"{path}  ({result.duration:.1f} s)\n" + "".join(_lines(window) for window in result.windows)


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
