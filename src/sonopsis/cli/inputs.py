"""From what a person types (files, folders, globs, `-`) to a list of recordings, and to the files written for them."""

import glob
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

STDIN = "-"
# What libsndfile opens; only in folders does the suffix matter.
SUFFIXES = frozenset(
    (".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".rf64", ".snd", ".w64", ".wav")
)


@dataclass(frozen=True)
class Input:
    """A recording to open, or `problem`: why there is none under this name."""

    name: str  # path as results show it, or `-`
    place: PurePath  # where its results belong below an output folder, with the recording's suffix
    problem: str | None = None


def collect(arguments: Sequence[str]) -> list[Input]:
    """The recordings meant by the arguments, each once, in order; names without a recording come with their problem."""
    found: dict[str, Input] = {}
    for argument in arguments:
        for item in _expand(argument):
            found.setdefault(item.name, item)
    return list(found.values())


def _expand(argument: str) -> list[Input]:
    if argument == STDIN:
        return [Input(STDIN, PurePath("stdin"))]
    if os.path.isdir(argument):
        return _search(argument)
    if os.path.lexists(argument) or not glob.has_magic(argument):
        return [_file(argument)]
    matches = sorted(glob.glob(argument, recursive=True))
    files = [item for match in matches for item in (_search(match) if os.path.isdir(match) else [_file(match)])]
    return files or [_nothing(argument, "no file matches; check the pattern")]


def _search(folder: str) -> list[Input]:
    """Every file below a folder with a suffix of audio, sorted; hidden files and folders are left alone."""
    found = []
    for where, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for file in sorted(files):
            if not file.startswith(".") and Path(file).suffix.lower() in SUFFIXES:
                path = os.path.join(where, file)
                found.append(Input(path, PurePath(os.path.relpath(path, folder))))
    return found or [_nothing(folder, "no recordings in this folder; name the files if their suffix is unusual")]


def _file(path: str) -> Input:
    return Input(path, PurePath(PurePath(path).name or path))


def _nothing(name: str, problem: str) -> Input:
    return Input(name, PurePath(PurePath(name).name or "input"), f"{name}: {problem}")


def targets(inputs: Sequence[Input]) -> dict[str, PurePath]:
    """Input name -> path below the output folder without the format's suffix, no two alike.

    `street.wav` becomes `street`; two recordings that would share a name keep their suffix (`street.wav`,
    `street.ogg`), and equal names from different folders are numbered.
    """
    stems = Counter(item.place.with_suffix("") for item in inputs)
    chosen: dict[str, PurePath] = {}
    taken: set[PurePath] = set()
    for item in inputs:
        stem = item.place.with_suffix("")
        place = stem if stems[stem] == 1 else item.place
        free, number = place, 1
        while free in taken:
            number += 1
            free = place.with_name(f"{place.name}-{number}")
        chosen[item.name] = free
        taken.add(free)
    return chosen
