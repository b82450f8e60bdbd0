"""What a run into a folder has finished, so that a run that was stopped, at any moment and by anything, can go on.

The journal is a hidden file of JSON lines in the output folder: first what the run was asked for, then a line for each
recording, written when all its results are whole. A line that was cut off counts as not written.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

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


class OtherRun(ValueError):
    """The folder has the journal of a run with other settings; the message says which differ."""


class Journal:
    """The journal of an output folder, open for more."""

    def __init__(self, folder: Path, settings: Mapping[str, Any], *, resume: bool) -> None:
        """Begin a journal, or with `resume` go on with the one that is there, if any.

        Raises OtherRun if that one is of a run with other settings, and OSError if the folder cannot be written to.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / JOURNAL
        self.finished: list[Finished] = []
        self._ends: list[int] = []  # where the line of each recording ends, in bytes
        first = json.dumps({"settings": settings}).encode() + b"\n"
        if resume and self._path.exists():
            self._read(json.loads(first)["settings"])
        self._stream = self._path.open("r+b" if self._ends else "wb")
        if self._ends:
            self._cut(self._ends[-1])
        else:
            self._stream.write(first)
            self._stream.flush()
            self._ends.append(len(first))

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
        self._stream.close()
        if not keep:
            self._path.unlink()

    def _read(self, settings: Mapping[str, Any]) -> None:
        place = 0
        for line in self._path.read_bytes().splitlines(keepends=True):
            try:
                found = json.loads(line)
            except ValueError:
                found = None
            if found is None or not line.endswith(b"\n"):
                break
            if place:
                self.finished.append(Finished(**found))
            else:
                _compare(found["settings"], settings, self._path.parent)
            place += len(line)
            self._ends.append(place)

    def _cut(self, length: int) -> None:
        self._stream.truncate(length)
        self._stream.seek(length)


def stamp(path: str) -> Stamp:
    """What tells a file from its later versions."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return [found.st_size, found.st_mtime_ns]


def _compare(before: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    other = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
    if other:
        raise OtherRun(
            f"{folder} has the results of a run with another {', '.join(other)}; repeat the settings of that run, "
            "choose another --output folder, or leave out --resume to begin again"
        )
