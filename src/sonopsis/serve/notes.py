"""What the log says about an upload (a file that was cut off, channels in opposite phase), for whoever sent it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from sonopsis.serve.bodies import Upload

HEADER = "Sonopsis-Warning"  # of an answer, one for each note


class Notes(logging.Handler):
    """Collects warnings by the file that they name first; decoding happens in several threads."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._found: dict[str, list[str]] = {}

    @contextmanager
    def of(self, upload: Upload) -> Iterator[None]:
        """Keep the notes about an upload in its list."""
        self._found[str(upload.path)] = upload.notes
        try:
            yield
        finally:
            del self._found[str(upload.path)]

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a warning about a file that is here."""
        path, colon, text = record.getMessage().partition(": ")
        if colon and (found := self._found.get(path)) is not None and text not in found:
            found.append(text)


def encoded(note: str) -> str:
    """A note as the value of a header, which has no other letters than those of ASCII."""
    return note.encode("ascii", "backslashreplace").decode()
