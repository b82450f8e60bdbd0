"""Lists that training programs read: the JSON files of AST (and SSAST, AudioMAE), the TSV and LBL files of EAT."""

import json
import re
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

from sonopsis.data.catalogue import DataError
from sonopsis.data.published.clip_folder import ClipFolder
from sonopsis.data.published.item import Item
from sonopsis.data.published.lists import names_of, read_classes, read_text_lines, split_fields
from sonopsis.data.splits import Split

DIVISIONS: dict[str, Split] = {
    **dict.fromkeys(("train", "training", "tr"), "train"),
    **dict.fromkeys(("valid", "val", "validation", "dev"), "validation"),
    **dict.fromkeys(("eval", "evaluation", "test", "testing", "te"), "test"),
}
FOLD = re.compile(r"_(\d+)$")


def read_ast(folder: ClipFolder, fold: int | None) -> Iterator[Item]:
    """Entries of JSON files `{"data": [{"wav": ..., "labels": "id,id"}]}`; each file's name says train, val or eval.

    Of files that end in a number, as those of ESC-50 do, only the ones of `fold` are read.
    """
    names = read_classes(folder.list_named("*class_labels_indices*.csv"))
    for path, split in _divided(folder, fold):
        for number, entry in enumerate(_entries(path), 1):
            try:
                wav, labels = _texts(entry, "wav", "labels")
                yield _item(folder, wav, Path(wav), names_of(labels, names), split)
            except ValueError as error:
                raise DataError(f"{path}, entry {number}: {error}") from error


def read_eat(folder: ClipFolder) -> Iterator[Item]:
    """Entries of train.tsv, valid.tsv and eval.tsv with their .lbl files; names are those of label_descriptors.csv."""
    names = dict(read_text_lines(folder.list_named("label_descriptors.csv"), _descriptor))
    for path in folder.lists("*.tsv"):
        if path.stem not in DIVISIONS:
            continue
        lines = list(read_text_lines(path, str.strip))
        labels = path.with_suffix(".lbl")
        if not labels.is_file():
            raise DataError(f"{labels} is missing; it has the labels of {path.name}, line by line")
        targets = list(read_text_lines(labels, str.split))
        home = Path(lines[0]) if lines else path.parent
        for number, (line, target) in enumerate(zip_longest(lines[1:], targets), 1):
            if line is None or target is None:
                raise DataError(
                    f"{labels}, line {number}: {path.name} lists {len(lines) - 1} clips, and this file has "
                    f"{len(targets)} lines"
                )
            clip, *size = line.split()
            if len(size) != 1 or not size[0].isdigit():
                raise DataError(f"{path}, line {number + 1}: expected a path and its number of samples, found {line!r}")
            try:
                found = names_of(target[1] if len(target) == 2 else "", names)
            except ValueError as error:
                raise DataError(f"{labels}, line {number}: {error}") from error
            yield _item(folder, clip, home / clip, found, DIVISIONS[path.stem])


def _divided(folder: ClipFolder, fold: int | None) -> list[tuple[Path, Split]]:
    """The JSON files whose names say their group."""
    found, numbered = [], False
    for path in folder.lists("*.json"):
        words = [word for word in re.split(r"[_\-. ]", path.stem.lower()) if word in DIVISIONS]
        if not words:
            continue
        number = FOLD.search(path.stem)
        if number is not None:
            numbered = True
            if fold is None:
                raise DataError(f"{path}: these files are numbered by fold; say which with --fold")
            if int(number[1]) != fold:
                continue
        found.append((path, DIVISIONS[words[0]]))
    if fold is not None and not numbered:
        raise DataError(f"{folder.root}: no JSON file ends in the number of a fold; leave --fold out")
    if not any(split == "train" for _, split in found):
        raise DataError(
            f"{folder.root}: there is no JSON file with `train` in its name"
            + (f" for fold {fold}" if fold is not None else "")
        )
    return found


def _entries(path: Path) -> list[Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {error.lineno}: this is not JSON ({error.msg})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: this is not UTF-8 ({error})") from error
    if not isinstance(content, dict) or not isinstance(content.get("data"), list):
        raise DataError(f'{path}: expected {{"data": [...]}}, as the data files of AST have it')
    return list(content["data"])


def _texts(entry: object, *keys: str) -> list[str]:
    if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in keys):
        raise ValueError(f"expected an object with the texts {' and '.join(keys)}")
    return [entry[key] for key in keys]


def _descriptor(line: str) -> tuple[str, str]:
    """Class id and name of a line `number,id` or `number,id,name`."""
    fields = split_fields(line)
    if len(fields) < 2 or not fields[1]:
        raise ValueError("expected a number, the id of a class and perhaps its name")
    return fields[1], fields[2] if len(fields) > 2 and fields[2] else fields[1]


def _item(folder: ClipFolder, clip: str, path: Path, labels: tuple[str, ...], split: Split) -> Item:
    """The clip where the list says it is, if that is a file; otherwise what ends like it in the folder."""
    listed = folder.root / path
    file = listed if listed.is_file() else folder.find_longest(clip)
    return Item(file, labels, split, Path(clip).stem)
