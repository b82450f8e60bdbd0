"""Where results go with `--output`: files below a folder that get their names when they are whole."""

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePath
from typing import Any

from sonopsis.cli.console import report
from sonopsis.cli.inputs import STDIN, UNFINISHED
from sonopsis.cli.journal import Finished, Journal, Stamp, stamp
from sonopsis.results import FileResult, Part, WindowResult
from sonopsis.writers import WRITERS, Writer

# In a folder, a recording that failed leaves only these behind: an empty table would look like silence.
SAY_ERRORS = {"json", "jsonl", "parquet"}
COMBINED = "results"  # the name of a file for all recordings, without its suffix


class Document:
    """A file of one format that has a temporary name, and is written as windows come, until it is whole."""

    def __init__(
        self,
        place: Path,
        writer: type[Writer],
        *,
        clock: bool = False,
        length: int = 0,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        """`place` is the final name without the format's suffix, and `clock` an option of the writer.

        With the `state` of a writer, the first `length` bytes of the file that is there are kept, and it goes on.
        """
        self._kind, self._clock = writer, clock
        writer = writer.draft or writer
        self.path = Path(f"{place}{writer.suffix}")
        self.unfinished = Path(f"{self.path}{UNFINISHED}")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if state is not None and not self.unfinished.exists():
            self._kind.reopen(self.path, self.unfinished, clock=clock)
        mode = "w" if state is None else "r+"
        self._stream: Any = (
            self.unfinished.open(f"{mode}b")
            if writer.binary
            else self.unfinished.open(mode, encoding="utf-8", newline="")
        )
        self.writer = writer(self._stream, clock=clock)
        if state is None:
            self.writer.__enter__()
        else:
            self._stream.truncate(length)
            self._stream.seek(length)
            self.writer.restore(state)

    @property
    def length(self) -> int:
        """Bytes that are written."""
        self._stream.flush()
        return self.unfinished.stat().st_size

    def close(self) -> None:
        """Leave a complete document of what was written, still under its temporary name."""
        if not self._stream.closed:
            self.writer.__exit__(None, None, None)
            self._stream.close()

    def finish(self) -> None:
        """Give the whole file its name."""
        self.close()
        self._kind.complete(self.unfinished, self.path, clock=self._clock)

    def drop(self) -> None:
        """Remove what was written."""
        self._stream.close()
        self.unfinished.unlink()


class Output:
    """Results below a folder. Leaving the `with` block in the midst of a run keeps what was written so far."""

    def __init__(self, folder: Path, formats: Sequence[str], journal: Journal, *, clock: bool = False) -> None:
        self.clock = clock
        self.folder = folder
        self.formats = formats
        self.journal = journal
        self.open: list[Document] = []
        self.stamps: dict[str, Stamp] = {}  # of the recordings, from before they are read

    def __enter__(self) -> "Output":
        return self

    def __exit__(self, *exception: object) -> None:
        for document in self.open:
            with suppress(OSError):  # which has ended the run already
                document.close()

    @property
    def unfinished(self) -> list[Path]:
        """The files that are not whole."""
        return [document.unfinished for document in self.open]

    def finished(self, paths: Sequence[str]) -> dict[str, str | None]:
        """Which of the recordings of a run were finished by one before it, and their errors; to be called once, before
        anything is read or written."""
        self.stamps = {path: stamp(path) for path in paths}
        return {entry.path: entry.error for entry in self.kept(paths)}

    def kept(self, paths: Sequence[str]) -> list[Finished]:
        """The entries of the journal that hold for this run."""
        raise NotImplementedError

    def same(self, entry: Finished) -> bool:
        """Whether a recording is in this run, and as it was; standard input is another one each time."""
        return entry.path != STDIN and entry.path in self.stamps and entry.stamp == self.stamps[entry.path]

    def write(self, parts: Iterable[Part]) -> None:
        """Write the parts of a run as they come; raises OSError."""
        for result, window in parts:
            if window is None:
                self.end(result)
            else:
                self.window(result, window)
        self.complete()

    def complete(self) -> None:
        """All recordings of the run have ended."""

    def window(self, result: FileResult, window: WindowResult) -> None:
        """Write a window of a recording."""
        for document in self.open:
            document.writer.window(result, window)

    def end(self, result: FileResult) -> None:
        """Write the end of a recording."""
        raise NotImplementedError


class Folder(Output):
    """A file for each recording and format."""

    def __init__(
        self,
        folder: Path,
        formats: Sequence[str],
        journal: Journal,
        places: Mapping[str, PurePath],
        *,
        clock: bool = False,
    ) -> None:
        """`places` says where below the folder the files of a recording are, without the formats' suffixes."""
        super().__init__(folder, formats, journal, clock=clock)
        self._places = places

    def kept(self, paths: Sequence[str]) -> list[Finished]:
        """Those that have not changed and whose files are there; what failed is tried again."""
        return [entry for entry in self.journal.finished if self.same(entry) and self._there(entry)]

    def window(self, result: FileResult, window: WindowResult) -> None:
        if not self.open:
            self._begin(result.path, self.formats)
        super().window(result, window)

    def end(self, result: FileResult) -> None:
        if result.error is not None:
            while self.open:
                self.open.pop().drop()
            self._remove(result.path, [name for name in self.formats if name not in SAY_ERRORS])
            self._begin(result.path, [name for name in self.formats if name in SAY_ERRORS])
        elif not self.open:  # no window had an event: its files say so
            self._begin(result.path, self.formats)
        files = {}
        for document in self.open:
            document.writer.end(result)
        while self.open:
            document = self.open[-1]
            document.finish()
            self.open.pop()
            files[str(document.path.relative_to(self.folder))] = document.path.stat().st_size
        if result.error is None:
            self.journal.add(Finished(result.path, self.stamps[result.path], None, files))

    def complete(self) -> None:
        """Remove what an earlier run wrote of these recordings under other names: its rows would count twice."""
        names = {path: self._names(path) for path in self._places}
        now = set().union(*names.values())
        for entry in self.journal.finished:
            again = names.get(entry.path)
            if again is None or not all((self.folder / name).is_file() for name in again):
                continue
            for name, length in entry.files.items():
                old = self.folder / name
                if name not in now and old.is_file() and old.stat().st_size == length:
                    old.unlink()
                    report(f"removed {old}: the results of {entry.path} have another name now")

    def _names(self, path: str) -> set[str]:
        """The files of a recording below the folder."""
        return {f"{self._places[path]}{WRITERS[name].suffix}" for name in self.formats}

    def _begin(self, path: str, formats: Iterable[str]) -> None:
        place = self.folder / self._places[path]
        for name in formats:
            self.open.append(Document(place, WRITERS[name], clock=self.clock))

    def _remove(self, path: str, formats: Iterable[str]) -> None:
        """Remove the files of an earlier run: beside the error, their rows would pass for what is heard now.

        Those of a recording that is not there stay: it may be on a disk that is away, and they are all that is left.
        """
        if not os.path.lexists(path):
            return
        for name in formats:
            old = self.folder / f"{self._places[path]}{WRITERS[name].suffix}"
            if old.is_file():
                old.unlink()
                report(f"removed {old}: its rows are of an earlier run, and {path} has failed now")

    def _there(self, entry: Finished) -> bool:
        """Whether the files of a recording are where they belong in this run, and as long as they were."""
        if set(entry.files) != self._names(entry.path):
            return False
        files = {self.folder / name: length for name, length in entry.files.items()}
        return all(file.is_file() and file.stat().st_size == length for file, length in files.items())


class Combined(Output):
    """One file for each format with all recordings in their order."""

    def kept(self, paths: Sequence[str]) -> list[Finished]:
        """The recordings at the beginning of the run that have not changed, also those that failed."""
        for name in self.formats if self.journal.finished else ():
            self._reopen(WRITERS[name])
        kept = 0
        for entry, path in zip(self.journal.finished, paths, strict=False):
            if entry.path != path or not self.same(entry) or not self._there(entry):
                break
            kept += 1
        self.journal.rewind(kept)
        last = self.journal.finished[-1] if kept else None
        for name in self.formats:
            writer = WRITERS[name]
            length, state = (last.files[f"{COMBINED}{writer.suffix}"], last.state[name]) if last else (0, None)
            place = self.folder / COMBINED
            self.open.append(Document(place, writer, clock=self.clock, length=length, state=state))
        return self.journal.finished

    def end(self, result: FileResult) -> None:
        for document in self.open:
            document.writer.end(result)
        files = {document.path.name: document.length for document in self.open}
        state = {name: document.writer.state() for name, document in zip(self.formats, self.open, strict=True)}
        self.journal.add(Finished(result.path, self.stamps[result.path], result.error, files, state))

    def complete(self) -> None:
        while self.open:
            self.open.pop().finish()

    def _reopen(self, writer: type[Writer]) -> None:
        """Make a draft of a whole file, so that its length says how much of the run it has."""
        whole = self.folder / f"{COMBINED}{writer.suffix}"
        draft = Path(f"{whole}{UNFINISHED}")
        if writer.draft is not None and whole.is_file() and not draft.exists():
            writer.reopen(whole, draft, clock=self.clock)

    def _there(self, entry: Finished) -> bool:
        for name, length in entry.files.items():
            whole = self.folder / name
            unfinished = Path(f"{whole}{UNFINISHED}")
            file = unfinished if unfinished.is_file() else whole
            if not file.is_file() or file.stat().st_size < length:
                return False
        return True
