"""What every writer is, and the small rules they share."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from sonopsis.results import FileResult, WindowResult

_BREAKS = str.maketrans(dict.fromkeys("\t\n\v\f\r\x1c\x1d\x1e\x85\u2028\u2029", " "))


class Writer:
    """Writes results to a text stream as they come: a header, each file's part, a footer.

        with JsonWriter(stream) as writer:
            writer.add(result)

    A result comes whole (`add`), or window by window (`window`, then `end`). Leaving the block, also by an exception,
    writes the footer, so that what was there so far is a complete document. The stream is flushed after every file,
    by a `StreamedWriter` after every window, and never closed.
    """

    suffix: ClassVar[str]  # what the names of files in this format end in
    streams: ClassVar[bool] = False  # whether a window is written when it comes, and not when its file has ended
    needs_duration: ClassVar[bool] = False  # whether windows are written beside the duration of their file
    binary: ClassVar[bool] = False  # whether the stream takes bytes; such a format needs a file of its own
    embeddings: ClassVar[bool] = False  # whether results must hold embeddings
    memory: ClassVar[tuple[str, ...]] = ()  # the attributes that one file leaves to the next
    needs: ClassVar[str | None] = None  # the optional package without which there is no such format
    draft: ClassVar["type[Writer] | None"] = None  # what writes a file until it is whole, where it is another format

    def __init__(self, stream: Any, *, clock: bool = False) -> None:
        """`clock` adds columns with the date and time of each row, in tables and in Raven's."""
        self.stream = stream
        self.clock = clock
        self._file: FileResult | None = None  # the file that has not ended, and its windows
        self._windows: list[WindowResult] = []

    def __enter__(self) -> Self:
        self._write(self.header())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self.end(replace(self._file, duration=self._windows[-1].end))
        self._write(self.footer())

    def add(self, result: FileResult) -> None:
        """Write one file's part."""
        self._write(self.part(result))

    def window(self, result: FileResult, window: WindowResult) -> None:
        """Take the next window of a file; `result` is the file without windows."""
        self._file = result
        self._windows.append(window)

    def end(self, result: FileResult) -> None:
        """Write the file whose windows were taken; those of a file that failed are dropped."""
        windows, self._windows, self._file = self._windows, [], None
        self.add(result if result.error is not None else replace(result, windows=windows))

    def state(self) -> dict[str, Any]:
        """What a writer remembers between two files, as JSON can hold it."""
        return {name: getattr(self, name) for name in self.memory}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where the writer with this state stopped, in a stream with all that it wrote."""
        for name in self.memory:
            setattr(self, name, state[name])

    @classmethod
    def complete(cls, draft: Path, whole: Path, *, clock: bool) -> None:
        """Make the whole file of what was written under a temporary name."""
        draft.replace(whole)

    @classmethod
    def reopen(cls, whole: Path, draft: Path, *, clock: bool) -> None:
        """Make of a whole file again what it was before, to go on with it."""
        whole.replace(draft)

    def header(self) -> str:
        """What precedes the first file."""
        return ""

    def part(self, result: FileResult) -> str:
        """What is written of one file."""
        raise NotImplementedError

    def footer(self) -> str:
        """What follows the last file."""
        return ""

    def _write(self, text: str) -> None:
        if text:
            # A terminal may not know every letter, and a file name's bytes need not be letters at all.
            encoding = getattr(self.stream, "encoding", None) or "utf-8"
            self.stream.write(text.encode(encoding, "replace").decode(encoding))
            self.stream.flush()


class StreamedWriter(Writer):
    """A writer that writes each window when it comes, so that long recordings are followed and need no memory."""

    streams = True
    _begun = False  # whether the current file has a window

    def window(self, result: FileResult, window: WindowResult) -> None:
        """Write a window, the first one with what stands before it."""
        opening = "" if self._begun else self.opening(result)
        self._begun = True
        self._write(opening + self.row(result, window))

    def end(self, result: FileResult) -> None:
        """Write what follows the windows of a file; the windows of a file that failed later stay."""
        opening = "" if self._begun or result.error is not None else self.opening(result)
        self._begun = False
        self._write(opening + self.closing(result))

    def part(self, result: FileResult) -> str:
        """The same of a whole file."""
        if result.error is not None:
            return self.closing(result)
        rows = "".join(self.row(result, window) for window in result.windows)
        return self.opening(result) + rows + self.closing(result)

    def opening(self, result: FileResult) -> str:
        """What stands before a file's windows."""
        return ""

    def row(self, result: FileResult, window: WindowResult) -> str:
        """What is written of one window."""
        raise NotImplementedError

    def closing(self, result: FileResult) -> str:
        """What stands after a file's windows, or in place of them if the file failed."""
        return ""


def clock_of(result: FileResult, seconds: float) -> tuple[str, str, str]:
    """Date, time of day and time zone at so many seconds of a recording, `2024-05-01`, `05:30:00.000` and `+01:00`;
    empty texts where they are not known."""
    if result.began is None:
        return "", "", ""
    moment = result.began + timedelta(milliseconds=round(seconds * 1000))
    day, time = moment.isoformat(timespec="milliseconds").split("T")
    return day, time[:12], time[12:]


def entries(window: WindowResult) -> list[tuple[str, float | None, str | None]]:
    """What a format with one text per row or cue says of a window, its caption or without one its tags: texts, scores,
    and the ids of tags."""
    if window.caption:
        return [(one_line(window.caption), window.score, None)]
    return [(one_line(pair.label), pair.score, pair.id) for pair in window.labels or []]


def one_line(text: str) -> str:
    """Text with spaces for tabs and line breaks, which would end a cell, a row or a cue."""
    return text.translate(_BREAKS)


def decimal(score: float | None) -> str:
    """A score as a table's cell, empty where there is none."""
    return "" if score is None else f"{score:.6f}"
