"""Recordings of one's own: a folder for each label -> rows of a manifest, with whole sources held out.

    FOLDER/dog/kitchen/1.wav            label "dog", source "kitchen": the first folder below the label's
    FOLDER/dog/kitchen_1.wav            the same: what stands before the first of "_", "-", "." or a space
    FOLDER/train/dog/1.wav              a division of one's own: train, and validation (valid, val, dev) or test

A source is what recordings have in common besides the label: a microphone, a room, a person, an archive. A model that
is scored on sources it was trained on may have learnt the source, so every fourth source, and at least one, is held
out. Sources of the same name are one source, also under several labels. A label whose files tell fewer than two
sources gets every fourth file held out instead, and a note says so.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import soundfile

from sonopsis.audio import SUFFIXES
from sonopsis.data.catalogue import DataError
from sonopsis.data.manifest import Row
from sonopsis.data.splits import Split

DIVISIONS: dict[str, Split] = {
    "train": "train",
    "test": "test",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
}
HELD_OUT_SHARE = 4  # one of so many sources, or files, is held out
SEPARATORS = re.compile(r"[_\-. ]")


@dataclass(frozen=True)
class FolderRows:
    """What a folder holds: rows with splits, which sources are held out, and notes for the user."""

    root: Path
    rows: list[Row]
    held_out_sources: list[str]  # empty: the folder has a division of its own, or no label tells its sources
    labels_without_sources: list[str]  # every fourth file of these is held out
    divided: bool  # whether the folder has a division of its own
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _File:
    path: Path
    label: str
    source: str
    division: Split | None


def read_folder(root: Path) -> FolderRows:
    """Rows for the recordings of a folder, sorted by path; DataError when it is not a folder per label."""
    if not root.is_dir():
        raise DataError(f"{root} is no folder; give one with a folder of recordings for each label")
    divided = [child for child in _folders(root) if child.name.lower() in DIVISIONS]
    others = [child for child in _folders(root) if child not in divided]
    if divided and others:
        raise DataError(
            f"{root} has both {divided[0].name}/ and {others[0].name}/; give either a folder for each label, or train/ "
            "and test/ with these inside"
        )
    if divided and not any(DIVISIONS[child.name.lower()] == "train" for child in divided):
        raise DataError(f"{root} has {divided[0].name}/ but no train/; put the training recordings there")
    files = (
        [file for child in divided for file in _files(child, DIVISIONS[child.name.lower()])]
        if divided
        else _files(root, None)
    )
    labels = sorted({file.label for file in files if file.division in (None, "train")})
    if len(labels) < 2:
        raise DataError(
            f"{root} has recordings of {len(labels)} labels ({', '.join(labels) or 'no folder with recordings'}); "
            "give a folder for each of at least two labels"
        )
    strange = sorted({file.label for file in files} - set(labels))
    if strange:
        raise DataError(f"{root}: {strange[0]!r} has no recordings in train/; add some, or take its folder out")
    if divided:
        rows = [_row(file, root, file.division or "train") for file in files]
        return FolderRows(root, rows, [], [], divided=True, notes=_unscored(rows))
    return _divide(files, root)


def _divide(files: list[_File], root: Path) -> FolderRows:
    """Hold out sources, and files of labels that do not tell theirs."""
    by_label: dict[str, dict[str, list[_File]]] = defaultdict(lambda: defaultdict(list))
    for file in files:
        by_label[file.label][file.source].append(file)
    told = {label: set(groups) for label, groups in by_label.items() if _tells(groups)}
    held_out = choose_sources(told)
    unknown = sorted(label for label in by_label if not told.get(label, set()) & held_out)
    rows = []
    for label, groups in by_label.items():
        ordered = sorted((file for group in groups.values() for file in group), key=lambda file: str(file.path))
        every = range(HELD_OUT_SHARE - 1, len(ordered), HELD_OUT_SHARE) if len(ordered) >= HELD_OUT_SHARE else [1]
        for number, file in enumerate(ordered):
            out = number in every if label in unknown else file.source in held_out
            rows.append(_row(file, root, "test" if out else "train"))
    notes = []
    if unknown:
        notes.append(
            f"{', '.join(unknown)}: the files do not tell at least two sources, so every "
            f"{HELD_OUT_SHARE}th file is held out; the score may be too good, because it is not on sources of its own"
        )
    rows.sort(key=lambda row: row.path)
    return FolderRows(root, rows, sorted(held_out), unknown, divided=False, notes=notes + _unscored(rows))


def choose_sources(sources: dict[str, set[str]]) -> set[str]:
    """Sources to hold out: of each label a quarter, at least one, and never all; drawn by hash, so always the same.

    `sources` are those of each label; one source may be of several labels.
    """
    wanted = {label: max(1, len(found) // HELD_OUT_SHARE) for label, found in sources.items()}
    chosen: set[str] = set()
    names = sorted({name for found in sources.values() for name in found}, key=_hash)
    for name in sorted(names, key=lambda name: -sum(name in found for found in sources.values())):
        of = [label for label, found in sources.items() if name in found]
        needed = any(len(sources[label] & chosen) < wanted[label] for label in of)
        possible = all(len(sources[label] - chosen) > 1 for label in of)
        if needed and possible:
            chosen.add(name)
    return chosen


def _tells(groups: dict[str, list[_File]]) -> bool:
    """Whether files tell their sources: two or more, and not one for every file, as names without a meaning would."""
    return len(groups) >= 2 and any(len(group) > 1 for group in groups.values())


def _files(root: Path, division: Split | None) -> list[_File]:
    found = []
    for folder in _folders(root):
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() in SUFFIXES and path.is_file():
                inside = path.relative_to(folder).parts
                source = inside[0] if len(inside) > 1 else SEPARATORS.split(path.stem)[0]
                found.append(_File(path, folder.name, source, division))
    return found


def _folders(root: Path) -> list[Path]:
    return sorted(child for child in root.iterdir() if child.is_dir() and not child.name.startswith("."))


def _row(file: _File, root: Path, split: Split) -> Row:
    try:
        info = soundfile.info(file.path)
        seconds = info.frames / info.samplerate
    except (soundfile.LibsndfileError, RuntimeError):
        seconds = 0.0  # the reader of the clip says why it cannot be decoded
    with file.path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return Row(
        path=file.path.relative_to(root).as_posix(),
        start=0.0,
        end=round(seconds, 6),
        labels=(file.label,),
        captions=(),
        source=file.source,
        family=file.source,
        licence="",
        split=split,
        sha256=digest,
    )


def _unscored(rows: Iterable[Row]) -> list[str]:
    """A note that names the labels without a held-out recording."""
    rows = list(rows)
    labels = {row.labels[0] for row in rows} - {row.labels[0] for row in rows if row.split != "train"}
    return [f"{', '.join(sorted(labels))}: no recording is held out, so the score says nothing of it"] if labels else []


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()
