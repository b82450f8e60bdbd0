"""Seek near-duplicates anew and write splits.json: `python scripts/draw_splits.py`, after new packages or rules.

Held-out packages and validation families are kept, so that the validation and the test recordings stay what they are.
With --families, validation families are drawn again: figures from before can then no longer be compared.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sonopsis.audio import AudioError, iter_windows
from sonopsis.data.fetch import default_root
from sonopsis.data.fingerprint import MAX_SECONDS, Fingerprint, fingerprint, similar_pairs
from sonopsis.data.manifest import build
from sonopsis.data.splits import Splits, draw_validation_families, leaving, load_splits, write_splits
from sonopsis.data.unlabelled import build_unlabelled

ROOT = Path(__file__).parent.parent


def draw(root: Path, splits: Splits, families: bool) -> Splits:
    """The groups of the recordings under the data root for the held-out packages of `splits`.

    The validation families are drawn again if `families`; recordings without labels are for training.
    """
    groups = replace(splits, near_duplicates=())
    if families:
        rows, _ = build(root, replace(groups, validation_families=()))
        drawn = draw_validation_families((row.family, row.labels) for row in rows if row.split == "train")
        groups = replace(groups, validation_families=tuple(drawn))
    rows, _ = build(root, groups)
    rows += build_unlabelled(root, {row.sha256 for row in rows}, groups)
    pairs = similar_pairs(print_of(root / row.path) for row in rows)
    gone = leaving(pairs, [row.split for row in rows])
    return replace(groups, near_duplicates=tuple(sorted(rows[i].sha256 for i in gone)))


def print_of(file: Path) -> Fingerprint | None:
    """The fingerprint of a file's beginning; None when it cannot be decoded or is silent."""
    try:
        first = next(iter_windows(file, window=MAX_SECONDS))
    except (AudioError, StopIteration):
        return None
    return fingerprint(first.samples)


def changes(before: Sequence[str], after: Sequence[str]) -> str:
    """How a list changed, in words for the terminal."""
    return f"{len(after)} ({len(set(after) - set(before))} new, {len(set(before) - set(after))} gone)"


def main() -> None:
    """Write the package's splits.json from the recordings under the data root."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", action="store_true", help="draw the validation families again")
    before = load_splits()
    after = draw(default_root(), before, parser.parse_args().families)
    write_splits(after, ROOT / "src" / "sonopsis" / "data" / "splits.json")
    print("validation families:", changes(before.validation_families, after.validation_families))
    print("near-duplicates:", changes(before.near_duplicates, after.near_duplicates))


if __name__ == "__main__":
    main()
