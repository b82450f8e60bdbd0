"""Draw splits.json anew: `python scripts/draw_splits.py`, once per change of rules, packages or held-out packages.

The held-out packages are kept as they are; validation families are drawn again and near-duplicates sought again.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sonopsis.audio import AudioError, iter_windows
from sonopsis.data.fetch import default_root
from sonopsis.data.fingerprint import MAX_SECONDS, Fingerprint, fingerprint, similar_pairs
from sonopsis.data.manifest import build
from sonopsis.data.splits import Splits, draw_validation_families, leaving, load_splits, write_splits

ROOT = Path(__file__).parent.parent


def draw(root: Path, splits: Splits) -> Splits:
    """The groups of the recordings under the data root for the held-out packages of `splits`."""
    rows, _ = build(root, replace(splits, validation_families=(), near_duplicates=()))
    families = draw_validation_families((row.family, row.labels) for row in rows if row.split == "train")
    groups = replace(splits, validation_families=tuple(families), near_duplicates=())
    pairs = list(similar_pairs(print_of(root / row.path) for row in rows))
    gone = leaving(pairs, [groups.split_of(row.source, row.family) for row in rows])
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
    before = load_splits()
    after = draw(default_root(), before)
    write_splits(after, ROOT / "src" / "sonopsis" / "data" / "splits.json")
    print("validation families:", changes(before.validation_families, after.validation_families))
    print("near-duplicates:", changes(before.near_duplicates, after.near_duplicates))


if __name__ == "__main__":
    main()
