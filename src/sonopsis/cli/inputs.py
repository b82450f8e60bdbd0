"""From what a person types (files, folders, globs, `-`) to a list of recordings, and to the files written for them."""

import glob
import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from sonopsis.cli.journal import JOURNAL
from sonopsis.cli.search import LeftOut, search

STDIN = "-"
UNFINISHED = ".part"  # what the name of a file ends in until it is whole
LONGEST = 200  # bytes of a name; file systems take 255, and a number, a suffix and `.part` follow


@dataclass(frozen=True)
class Input:
    """A recording to open, or `problem`: why there is none under this name."""

    name: str  # path as results show it, or `-`
    place: PurePath  # where its results belong below an output folder, with the recording's suffix
    problem: str | None = None


def collect(arguments: Sequence[str], left_out: LeftOut | None = None) -> list[Input]:
    """The recordings meant by the arguments, each once, in order; names without a recording come with their problem.

    `left_out` counts what was found in folders and not taken.
    """
    left_out = LeftOut() if left_out is None else left_out
    found: dict[str, Input] = {}
    for argument in arguments:
        for item in _expand(argument, left_out):
            found.setdefault(item.name, item)
    return list(found.values())


def _expand(argument: str, left_out: LeftOut) -> list[Input]:
    if argument == STDIN:
        return [Input(STDIN, PurePath("stdin"))]
    if not argument:  # a variable of the shell that is not set
        return [Input(argument, PurePath("input"), "an empty name is no recording; name a file, a folder or a pattern")]
    if os.path.isdir(argument):
        return _search(argument, left_out)
    if os.path.lexists(argument) or not glob.has_magic(argument):
        return [_file(argument)]
    matches = sorted(glob.glob(argument, recursive=True))
    files: list[Input] = []
    for match in matches:
        files += _search(match, left_out) if os.path.isdir(match) else [_file(match)]
    return files or [_nothing(argument, "no file matches; check the pattern")]


def _search(folder: str, left_out: LeftOut) -> list[Input]:
    """The recordings below a folder, and the folders that cannot be read, with their problem."""
    found = []
    for path, problem in search(folder, left_out):
        place = os.path.relpath(path, folder)
        found.append(Input(path, PurePath("input" if place == os.curdir else place), problem))
    return found or [_nothing(folder, "no recordings in this folder; name the files if their suffix is unusual")]


def _file(path: str) -> Input:
    return Input(path, _place(path))


def _nothing(name: str, problem: str) -> Input:
    from sonopsis.audio.source import source_name

    return Input(name, _place(name), f"{source_name(name)}: {problem}")


def _place(path: str) -> PurePath:
    """The last part of a path, if it is a name."""
    name = PurePath(path).name
    return PurePath("input" if name in ("", os.pardir) else name)


def targets(inputs: Sequence[Input]) -> dict[str, PurePath]:
    """Input name -> path below the output folder without the format's suffix, no two of which share a file.

    `street.wav` becomes `street`; two recordings that would share a name keep their suffix (`street.wav`,
    `street.ogg`), and equal names from different folders are numbered. Names that differ in upper and lower case alone
    count as equal, which they are to some file systems. A name that is too long is cut, and ends in its digest.
    """
    from sonopsis.writers import WRITERS

    same = _Sameness([writer.suffix for writer in WRITERS.values()])
    stems = Counter(same(_stem(item.place)) for item in inputs)
    chosen: dict[str, PurePath] = {}
    taken = same.kept_for({parent for item in inputs for parent in item.place.parents})
    numbers: Counter[str] = Counter()  # so that many equal names are numbered fast
    for item in inputs:
        stem = _stem(item.place)
        place = free = _shortened(stem if stems[same(stem)] == 1 else item.place)
        first = same(place)
        while same(free) in taken:
            numbers[first] = max(numbers[first], 1) + 1
            free = place.with_name(f"{place.name}-{numbers[first]}")
        chosen[item.name] = free
        taken.add(same(free))
    return chosen


def _stem(place: PurePath) -> PurePath:
    """The place without its suffix; with it if only dots were left (`..wav`), which mean a folder."""
    return place.with_suffix("") if place.stem.strip(".") else place


class _Sameness:
    """Tells which places share a file: `a.labels` as text and `a` as labels are both `a.labels.txt`."""

    def __init__(self, suffixes: Sequence[str]) -> None:
        self._suffixes = suffixes
        self._endings = {
            one.removesuffix(other) for one in suffixes for other in suffixes if one != other and one.endswith(other)
        }

    def __call__(self, place: PurePath | str) -> str:
        """What is equal for such places alone."""
        text = unicodedata.normalize("NFC", str(place)).casefold()
        for ending in self._endings:
            text = text.removesuffix(ending)
        return text

    def kept_for(self, folders: Collection[PurePath]) -> set[str]:
        """The places whose files would have the name of one of these folders, or of the journal."""
        names = [str(name).casefold().removesuffix(UNFINISHED) for name in (JOURNAL, *folders)]
        return {self(name.removesuffix(end)) for name in names for end in self._suffixes if name.endswith(end)}


def _shortened(place: PurePath) -> PurePath:
    """The place; if no suffix finds room after its name, with a digest for the end of the name."""
    name = os.fsencode(place.name)
    if len(name) <= LONGEST:
        return place
    digest = hashlib.sha256(name).hexdigest()[:8]
    return place.with_name(f"{name[: LONGEST - len(digest)].decode(errors='ignore')}{digest}")
