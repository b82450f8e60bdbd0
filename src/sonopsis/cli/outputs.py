"""Where results go: one document on standard output, or files below a folder that appear when they are whole."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath

from sonopsis.cli.console import fail
from sonopsis.results import FileResult, Part, WindowResult
from sonopsis.writers import WRITERS, Writer

# In a folder, a recording that failed leaves only these behind: an empty table would look like silence.
SAY_ERRORS = {"json", "jsonl"}
UNFINISHED = ".part"  # what the name of a file ends in until it is whole


class Document:
    """A file of one format that has a temporary name, and is written as windows come, until it is whole."""

    def __init__(self, place: Path, writer: type[Writer]) -> None:
        """`place` is the final name without the format's suffix."""
        self.path = Path(f"{place}{writer.suffix}")
        self.unfinished = Path(f"{self.path}{UNFINISHED}")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = (
            self.unfinished.open("wb") if writer.binary else self.unfinished.open("w", encoding="utf-8", newline="")
        )
        self.writer = writer(self._stream).__enter__()

    def close(self) -> None:
        """Leave a complete document of what was written, still under its temporary name."""
        self.writer.__exit__(None, None, None)
        self._stream.close()

    def finish(self) -> None:
        """Give the whole file its name."""
        self.close()
        self.unfinished.replace(self.path)

    def drop(self) -> None:
        """Remove what was written."""
        self._stream.close()
        self.unfinished.unlink()


class Folder:
    """A file for each recording and format below a folder; OSError ends the program with one line.

    Leaving the `with` block in the midst of a recording, for example by an interruption, keeps what was written of it
    under the temporary name.
    """

    def __init__(self, folder: Path, formats: Sequence[str], places: Mapping[str, PurePath]) -> None:
        """`places` says where below the folder the files of a recording are, without the formats' suffixes."""
        self._folder = folder
        self._formats = formats
        self._places = places
        self._open: list[Document] = []  # of the current recording

    def __enter__(self) -> "Folder":
        return self

    def __exit__(self, *exception: object) -> None:
        for document in self._open:
            document.close()

    @property
    def unfinished(self) -> list[Path]:
        """The files of a recording that has not ended."""
        return [document.unfinished for document in self._open]

    def write(self, parts: Iterable[Part]) -> None:
        """Write the parts of a run as they come."""
        for result, window in parts:
            try:
                if window is None:
                    self._end(result)
                else:
                    self._window(result, window)
            except OSError as error:
                fail(f"{self._folder}: cannot be written to ({error.strerror}); choose another --output folder")

    def _window(self, result: FileResult, window: WindowResult) -> None:
        if not self._open:
            self._begin(result.path, self._formats)
        for document in self._open:
            document.writer.window(result, window)

    def _end(self, result: FileResult) -> None:
        if result.error is not None:
            while self._open:
                self._open.pop().drop()
            self._begin(result.path, [name for name in self._formats if name in SAY_ERRORS])
        for document in self._open:
            document.writer.end(result)
        while self._open:
            self._open.pop().finish()

    def _begin(self, path: str, formats: Iterable[str]) -> None:
        place = self._folder / self._places[path]
        for name in formats:
            self._open.append(Document(place, WRITERS[name]))
