"""The layouts by name, and the rows of a manifest that their entries become."""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import soundfile

from sonopsis.data.catalogue import DataError
from sonopsis.data.manifest import SHORTEST, Row
from sonopsis.data.published.captions import read_audiocaps, read_captions, read_clotho, read_slam
from sonopsis.data.published.clip_folder import ClipFolder
from sonopsis.data.published.datafiles import read_ast, read_eat
from sonopsis.data.published.freesound import read_esc50, read_fsd50k
from sonopsis.data.published.item import Item
from sonopsis.data.published.label_tracks import read_audacity, read_raven
from sonopsis.data.published.questions import read_openaqa, read_reasonaqa
from sonopsis.data.published.speech import read_speech_commands, read_voxceleb1
from sonopsis.data.published.youtube import ALL, BALANCED, read_audioset, read_vggsound

READERS: dict[str, Callable[[ClipFolder], Iterator[Item]]] = {
    "audioset-20k": partial(read_audioset, lists=BALANCED),
    "audioset-2m": partial(read_audioset, lists=ALL),
    "speech-commands": read_speech_commands,
    "voxceleb1": read_voxceleb1,
    "fsd50k": read_fsd50k,
    "vggsound": read_vggsound,
    "eat": read_eat,
    "audiocaps": read_audiocaps,
    "clotho": read_clotho,
    "slam": read_slam,
    "captions": read_captions,
    "openaqa": read_openaqa,
    "reasonaqa": read_reasonaqa,
    "audacity": read_audacity,
    "raven": read_raven,
}
LAYOUTS = (*READERS, "esc50", "ast")


@dataclass(frozen=True)
class Import:
    """What became of a data set: rows, entries without a clip, clips that cannot be read, and whether it brought
    validation clips of its own."""

    rows: list[Row]
    missing: int
    unreadable: int
    own_validation: bool


def find_items(layout: str, folder: Path, fold: int | None = None) -> list[Item]:
    """The entries of a data set in a folder; `fold` is the one held out for test.

    ValueError for a layout or a fold that there is not, DataError (with the file and the line) for lists that are
    missing or wrong, and when not one clip is there.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"unknown layout {layout!r}: use one of {', '.join(LAYOUTS)}")
    if layout in READERS and fold is not None:
        raise ValueError(f"{layout} has no folds; leave --fold out")
    if layout == "esc50" and fold is None:
        raise ValueError("esc50 has five folds: say with --fold which one is held out for test")
    files = ClipFolder(folder)
    if layout == "esc50" and fold is not None:
        items = list(read_esc50(files, fold))
    elif layout == "ast":
        items = list(read_ast(files, fold))
    else:
        items = list(READERS[layout](files))
    if not any(item.file is not None for item in items):
        raise DataError(f"{folder}: none of the {len(items)} clips that the data set lists is in this folder")
    return items


def build_rows(items: Iterable[Item], layout: str, folder: Path, validation: float = 0.1) -> Import:
    """Rows for the entries whose clips are there and can be read, sorted by path.

    When the data set has no validation part, whole sources with about the share `validation` of the training clips
    become one. ValueError for another share than at least 0 and under 1.
    """
    if not 0 <= validation < 1:
        raise ValueError(f"validation is a share, at least 0 and under 1, not {validation}")
    rows, missing, unreadable = [], 0, 0
    for item in items:
        if item.file is None:
            missing += 1
        elif (row := _row(item, item.file, layout, folder)) is None:
            unreadable += 1
        else:
            rows.append(row)
    rows.sort(key=lambda row: row.path)
    own = any(row.split == "validation" for row in rows)
    return Import(rows if own else draw_validation(rows, validation), missing, unreadable, own)


def draw_validation(rows: Sequence[Row], share: float) -> list[Row]:
    """Rows of which about this share of the training ones is now for validation: whole sources, drawn by the hash of
    their name, so always the same; every label keeps a source for training."""
    train = [row for row in rows if row.split == "train"]
    sizes = Counter(row.family for row in train)
    labels: dict[str, set[str]] = {}
    for row in train:
        labels.setdefault(row.family, set()).update(row.labels)
    left = Counter(label for found in labels.values() for label in found)  # sources for training of each label
    chosen: set[str] = set()
    wanted = share * len(train)
    for family in sorted(sizes, key=lambda name: hashlib.sha256(name.encode()).hexdigest()):
        if sizes[family] <= wanted and all(left[label] > 1 for label in labels[family]):
            chosen.add(family)
            wanted -= sizes[family]
            left.subtract(labels[family])
    return [replace(row, split="validation") if row.split == "train" and row.family in chosen else row for row in rows]


def _row(item: Item, file: Path, layout: str, folder: Path) -> Row | None:
    try:
        info = soundfile.info(file)
    except (soundfile.LibsndfileError, RuntimeError):
        return None
    duration = round(info.frames / info.samplerate, 6)
    start, end = item.span or (0.0, duration)
    end = min(end, duration)
    if end - start < (SHORTEST if item.span else 1 / info.samplerate):
        return None
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    inside = file.is_relative_to(folder)
    return Row(
        path=file.relative_to(folder).as_posix() if inside else Path(os.path.abspath(file)).as_posix(),
        start=start,
        end=end,
        labels=item.labels,
        captions=item.captions,
        source=layout,
        family=item.source,
        licence="",
        split=item.split,
        sha256=digest,
        questions=item.questions,
    )
