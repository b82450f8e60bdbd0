"""What a run into a folder has finished, so that a run that was stopped, at any moment and by anything, can go on.

The journal is a hidden file of JSON lines in the output folder: first what the run was asked for, then a line for each
recording, written when all its results are whole. A line that was cut off or damaged counts as not written, and so do
those after it. While a run goes on, it has the lock of the journal.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None  # type: ignore[assignment]

JOURNAL = ".sonopsis-run.jsonl"

Stamp = list[int] | None  # of a file: size in bytes and time of change in ns; None if there is none


@dataclass(frozen=True)
class Finished:
    """A recording that has ended: its path, its stamp from before it was read, and its error.

    `files` are the sizes of the output files after it, by their names below the folder, and `state` is what each
    writer of a combined file remembers.
    """

    path: str
    stamp: Stamp
    error: str | None
    files: dict[str, int]
    state: dict[str, dict[str, Any]] = field(default_factory=dict)


class NotGoingOn(ValueError):
    """The folder has the journal of a run with other settings, or of one that goes on, or something else in its place;
    the message says which."""


class Journal:
    """The journal of an output folder, open for more."""

    def __init__(self, folder: Path, settings: Mapping[str, Any], *, resume: bool) -> None:
        """Begin a journal, or with `resume` go on with the one that is there, if any.

        Raises NotGoingOn, and OSError if the folder cannot be written to.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / JOURNAL
        self._stream = _locked(self._path)
        self.finished: list[Finished] = []
        self._ends: list[int] = []  # where the line of each recording ends, in bytes
        first = json.dumps({"settings": settings}).encode() + b"\n"
        try:
            if resume:
                self._read(json.loads(first)["settings"])
            self._cut(self._ends[-1] if self._ends else 0)
            if not self._ends:
                self._stream.write(first)
                self._stream.flush()
                self._ends.append(len(first))
        except BaseException:
            self._stream.close()
            raise

    def add(self, finished: Finished) -> None:
        """Write the line of a recording whose results are whole."""
        self._stream.write(json.dumps(asdict(finished)).encode() + b"\n")
        self._stream.flush()

    def rewind(self, count: int) -> None:
        """Keep the first `count` recordings alone."""
        del self.finished[count:], self._ends[count + 1 :]
        self._cut(self._ends[-1])

    def close(self, *, keep: bool) -> None:
        """The run has ended; without `keep`, nothing is left to go on with."""
        if not keep and fcntl is not None:  # before another run can lock it
            self._path.unlink()
        self._stream.close()
        if not keep and fcntl is None:
            self._path.unlink()

    def _read(self, settings: Mapping[str, Any]) -> None:
        place = 0
        self._stream.seek(0)
        for line in self._stream.read().splitlines(keepends=True):
            if not line.endswith(b"\n"):
                break
            try:
                found = json.loads(line)
            except ValueError:
                found = None
            if not place:
                _compare(found, settings, self._path)
            elif (entry := _entry(found)) is not None:
                self.finished.append(entry)
            else:
                break
            place += len(line)
            self._ends.append(place)

    def _cut(self, length: int) -> None:
        self._stream.truncate(length)
        self._stream.seek(length)


def _locked(path: Path) -> BinaryIO:
    """A file for reading and writing that no other run has, where the system can tell; NotGoingOn if one has it."""
    while True:
        stream = path.open("a+b")
        if fcntl is not None:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                stream.close()
                raise NotGoingOn(
                    f"{path.parent}: another run writes there; wait for its end, or choose another --output folder"
                ) from None
            except OSError:  # some network disks know no locks
                pass
        with suppress(FileNotFoundError):  # the run that had it has ended, and has removed it
            if os.path.samestat(os.fstat(stream.fileno()), path.stat()):
                return stream
        stream.close()


def stamp(path: str) -> Stamp:
    """What tells a file from its later versions."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return [found.st_size, found.st_mtime_ns]


def _entry(found: Any) -> Finished | None:
    """A line of the journal; None if it is damaged."""
    try:
        entry = Finished(**found)
    except TypeError:
        return None
    return entry if isinstance(entry.files, dict) and isinstance(entry.state, dict) else None


def _compare(found: Any, now: Mapping[str, Any], path: Path) -> None:
    """Raise NotGoingOn if the first line of a journal has other settings, or none."""
    before = found.get("settings") if isinstance(found, dict) else None
    if not isinstance(before, dict):
        raise NotGoingOn(
            f"{path} was not written by sonopsis, or is damaged; remove it, or leave out --resume to begin again"
        )
    other = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
    if other:
        raise NotGoingOn(
            f"{path.parent} has the results of a run with another {', '.join(other)}; repeat the settings of that run, "
            "choose another --output folder, or leave out --resume to begin again"
        )
