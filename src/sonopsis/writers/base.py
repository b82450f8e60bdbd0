"""What every writer is, and the small rules they share."""

from types import TracebackType
from typing import Any, ClassVar, Self

from sonopsis.results import FileResult, WindowResult

_BREAKS = str.maketrans(dict.fromkeys("\t\n\v\f\r\x1c\x1d\x1e\x85\u2028\u2029", " "))


class Writer:
    """Writes results to a text stream as they come: a header, each file's part, a footer.

        with JsonWriter(stream) as writer:
            writer.add(result)

    Leaving the block, also by an exception, writes the footer, so that what was added so far is a complete document.
    The stream is flushed after every file and never closed.
    """

    suffix: ClassVar[str]  # what the names of files in this format end in
    binary: ClassVar[bool] = False  # whether the stream takes bytes; such a format needs a file of its own
    embeddings: ClassVar[bool] = False  # whether results must hold embeddings

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def __enter__(self) -> Self:
        self._write(self.header())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._write(self.footer())

    def add(self, result: FileResult) -> None:
        """Write one file's part."""
        self._write(self.part(result))

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
