"""Recordings that no rule labels: music, ambiences, sounds whose names say too little. They serve distillation.

They are rows of a manifest without labels, in a file of their own, so that nothing takes them for recordings that hold
no sound.
"""

import hashlib
import os
from collections.abc import Collection, Iterator
from pathlib import Path

from sonopsis.audio import SUFFIXES
from sonopsis.data.catalogue import get_source
from sonopsis.data.manifest import Row, duration_of, package_folders
from sonopsis.data.naming import family_stem, says_nothing
from sonopsis.data.splits import Splits, load_splits

FILE = "unlabelled.jsonl"


def find_unlabelled(root: Path, splits: Splits | None = None) -> Iterator[tuple[str, str]]:
    """Files under root/audio that no rule knows, as (path relative to root, package), sorted by path.

    Those of packages and families that are held out for test or validation are not among them, nor those that a rule
    leaves out.  DataError when nothing has been unpacked.
    """
    splits = splits or load_splits()
    for folder in package_folders(root):
        for parent, folders, names in os.walk(folder):
            folders.sort()
            for name in sorted(names):
                file = Path(parent, name)
                path = file.relative_to(folder).as_posix()
                if file.suffix.lower() not in SUFFIXES or not says_nothing(folder.name, path):
                    continue
                if splits.split_of(folder.name, f"{folder.name}:{family_stem(path)}") == "train":
                    yield file.relative_to(root).as_posix(), folder.name


def build_unlabelled(root: Path, labelled: Collection[str], splits: Splits | None = None) -> list[Row]:
    """Rows without labels, split "train", for all recordings that no rule knows, sorted by path.

    `labelled` are the hashes of the manifest's recordings: identical files leave, as do those that the committed list
    names near-duplicates of held-out ones, silent ones, and all copies of a file but the first.
    """
    splits = splits or load_splits()
    seen = {*labelled, *splits.near_duplicates}
    rows = []
    for path, package in find_unlabelled(root, splits):
        with (root / path).open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        if sha256 in seen:
            continue
        seen.add(sha256)
        duration = duration_of(root / path)
        if duration is not None:
            family = f"{package}:{path}"
            licence = get_source(package).licence
            rows.append(Row(path, 0.0, round(duration, 6), (), (), package, family, licence, "train", sha256))
    return rows
