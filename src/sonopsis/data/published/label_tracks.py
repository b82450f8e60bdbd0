"""Recordings that a person labelled in Audacity or in Raven: label tracks and selection tables, and their clips.

audacity  street.txt or street.labels.txt beside street.wav: start, end (s) and text between tabs
raven     *.selections.txt: columns by name; `Begin File` and `File Offset (s)` say where a selection is, or without
          them the name of the table (street.Table.1.selections.txt) and `Begin Time (s)`

A row of the manifest is a stretch of a recording, with every label that sounds for at least half of it.
"""

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path, PureWindowsPath

from sonopsis.audio import SUFFIXES
from sonopsis.data.catalogue import DataError
from sonopsis.data.published.clip_folder import ClipFolder
from sonopsis.data.published.item import Item
from sonopsis.data.published.lists import read_text_lines
from sonopsis.ontology import current, entries

TRACKS = ("*.txt",)
TABLES = ("*.selections.txt", "*.selections.tsv")
ANNOTATIONS = (
    "Annotation",
    "Label",
    "Labels",
    "Tags",
    "Species",
    "Common Name",
    "Call Type",
    "Call type",
    "Sound type",
)
BEGIN, END, OFFSET = "Begin Time (s)", "End Time (s)", "File Offset (s)"


@dataclass(frozen=True)
class Event:
    """A label of a recording, from `start` to `end` in seconds of the file with this path or name."""

    file: str
    start: float
    end: float
    label: str


def read_audacity(folder: ClipFolder) -> Iterator[Item]:
    """Stretches of the recordings that have a label track of the same name."""
    tracks = [path for path in _named(folder, TRACKS) if not path.name.endswith(".selections.txt")]
    found = [event for path in tracks if _recording(folder, path) for event in audacity_events(path)]
    if not found:
        raise DataError(f"{folder.root}: there is no label track; export it as street.txt beside street.wav")
    yield from _items(folder, found)


def read_raven(folder: ClipFolder) -> Iterator[Item]:
    """Stretches of the recordings that selection tables name."""
    tables = _named(folder, TABLES)
    if not tables:
        raise DataError(f"{folder.root}: there is no selection table; its name ends in .selections.txt")
    yield from _items(folder, (event for path in tables for event in raven_events(path)))


def audacity_events(path: Path) -> Iterator[Event]:
    """The labels of a track with text; a line that begins with a backslash has the band of the label before it.

    DataError, naming file and line, for what is no label.
    """

    def read(line: str) -> Event | None:
        if line.startswith("\\"):
            return None
        cells = line.split("\t", 2)
        if len(cells) < 2:
            raise ValueError(f"expected start, end and text between tabs, found {line!r}")
        event = Event(str(path), *_times(cells[0], cells[1]), label_of("".join(cells[2:])))
        return event if event.label else None

    yield from read_text_lines(path, read)


def raven_events(path: Path) -> Iterator[Event]:
    """The annotated selections of a table, each once, although a table has a row for each view.

    DataError, naming file and line, for columns that are missing and for what is no selection.
    """
    header: list[str] = []
    seen: set[Event] = set()

    def read(line: str) -> Event | None:
        cells = line.split("\t")
        if not header:
            header.extend(cells)
            if missing := [name for name in (BEGIN, END) if name not in header]:
                raise ValueError(f"the column {missing[0]!r} is missing; the columns are {', '.join(header)}")
            if not set(header) & set(ANNOTATIONS):
                raise ValueError(f"no column has labels; name it {ANNOTATIONS[0]!r} in Raven")
            return None
        row = dict(zip(header, cells, strict=False))
        label = label_of(next(row.get(name, "") for name in ANNOTATIONS if name in header))
        start, end = _times(row.get(BEGIN, ""), row.get(END, ""))
        if offset := row.get(OFFSET, ""):
            first, _ = _times(offset, offset)
            start, end = first, round(first + end - start, 6)
        event = Event(row.get("Begin Path") or row.get("Begin File") or str(path), start, end, label)
        if not label or event in seen:
            return None
        seen.add(event)
        return event

    yield from read_text_lines(path, read)


def label_of(text: str) -> str:
    """The label that a person wrote: the name of the class in the ontology if there is one (whatever its case, by its
    id, or by its name in older versions), else the text as it is."""
    text = " ".join(text.split())
    return _known().get(text) or _known().get(text.casefold()) or current(text)


@cache
def _known() -> dict[str, str]:
    """Ids and names in lower case -> names."""
    ids = {entry.id: name for name, entry in entries().items() if entry.id is not None}
    return ids | {name.casefold(): name for name in entries()}


def _times(start: str, end: str) -> tuple[float, float]:
    first, last = (float(cell.replace(",", ".")) for cell in (start, end))  # some countries write 1,5
    if not (math.isfinite(first) and math.isfinite(last) and 0 <= first <= last):
        raise ValueError(f"a label begins at 0 s or later, and ends after that; found {start} to {end}")
    return first, last


def _named(folder: ClipFolder, patterns: Iterable[str]) -> list[Path]:
    return [path for pattern in patterns for path in folder.lists(pattern)]


def _recording(folder: ClipFolder, named: Path) -> Path | None:
    """The recording of a file with labels: the one of that name in the same folder, or the only one in all."""
    stem = named.name.split(".Table.")[0]
    for ending in (".txt", ".tsv", ".labels", ".selections"):
        stem = stem.removesuffix(ending)
    name = stem if Path(stem).suffix.lower() in SUFFIXES else f"{stem}.wav"
    exact = named.with_name(name)
    return exact if exact.is_file() else folder.find(named.with_name(name).as_posix(), 2) or folder.find(name)


def _items(folder: ClipFolder, events: Iterable[Event]) -> Iterator[Item]:
    files: dict[str, Path | None] = {}
    heard: defaultdict[Path | str, list[Event]] = defaultdict(list)
    for event in events:
        if event.file not in files:
            name = event.file
            if name.endswith((".txt", ".tsv")):
                files[name] = _recording(folder, Path(name))
            else:
                files[name] = folder.locate(name) or folder.find(PureWindowsPath(name).name)
        heard[files[event.file] or event.file].append(event)
    for key, found in heard.items():
        file = key if isinstance(key, Path) else None
        for (start, end), labels in _stretches(found):
            yield Item(file, labels, "train", Path(key).stem, span=(start, end))


def _stretches(events: list[Event]) -> Iterator[tuple[tuple[float, float], tuple[str, ...]]]:
    """The stretches of one recording that have a label, in the order of time, with their own labels first."""
    events = sorted(events, key=lambda event: (event.start, event.end))
    starts = [event.start for event in events]
    longest = max(event.end - event.start for event in events)
    for (start, end), group in groupby(events, key=lambda event: (event.start, event.end)):
        near = events[bisect_left(starts, start - longest) : bisect_left(starts, end)]
        long = [event for event in near if 2 * (min(end, event.end) - max(start, event.start)) >= end - start]
        yield (start, end), tuple(dict.fromkeys(event.label for event in (*group, *long)))
