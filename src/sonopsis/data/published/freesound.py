"""ESC-50 and FSD50K: clips of freesound.org."""

from collections.abc import Iterator
from functools import partial

from sonopsis.data.catalogue import DataError
from sonopsis.data.published.clip_folder import ClipFolder
from sonopsis.data.published.item import Item
from sonopsis.data.published.lists import read_table
from sonopsis.data.splits import Split

FOLDS = range(1, 6)
FSD50K_SPLITS: dict[str, Split] = {"train": "train", "val": "validation", "eval": "test"}


def read_esc50(folder: ClipFolder, fold: int) -> Iterator[Item]:
    """Entries of esc50.csv, those of fold `fold` (1 to 5) for test; a source is a recording of freesound.org."""
    if fold not in FOLDS:
        raise DataError(f"ESC-50 has the folds 1 to 5, not {fold}")

    def read(row: dict[str, str]) -> Item:
        if row["fold"] not in map(str, FOLDS):
            raise ValueError(f"the fold must be a number from 1 to 5, not {row['fold']!r}")
        if not row["category"]:
            raise ValueError("there is no label")
        split: Split = "test" if int(row["fold"]) == fold else "train"
        return Item(folder.find(row["filename"]), (row["category"],), split, row["src_file"])

    yield from read_table(folder.list_named("esc50.csv"), ("filename", "fold", "category", "src_file"), read)


def read_fsd50k(folder: ClipFolder) -> Iterator[Item]:
    """Entries of dev.csv (train and val) and eval.csv, with all labels of each clip; a source is a clip."""

    def read(row: dict[str, str], split: str) -> Item:
        split = row.get("split", split)
        if split not in FSD50K_SPLITS:
            raise ValueError(f"split must be train or val, not {split!r}")
        labels = tuple(dict.fromkeys(name.strip() for name in row["labels"].split(",") if name.strip()))
        if not labels:
            raise ValueError("there is no label")
        return Item(folder.find(row["fname"]), labels, FSD50K_SPLITS[split], row["fname"])

    dev, test = folder.list_named("dev.csv"), folder.list_named("eval.csv")
    yield from read_table(dev, ("fname", "labels", "split"), partial(read, split="train"))
    yield from read_table(test, ("fname", "labels"), partial(read, split="eval"))
