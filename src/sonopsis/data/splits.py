"""Which recordings are for training, for choosing, and for the final table: the committed file splits.json.

Whole packages are held out for test and for validation; whole families of takes go from the remaining packages to
validation.  `near_duplicates` lists the hashes of recordings that leave because a group held out more strictly has the
same recording in another form.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Literal

from sonopsis.data.records import decode
from sonopsis.ontology import former

Split = Literal["train", "validation", "test"]
STRICTNESS: dict[Split, int] = {"train": 0, "validation": 1, "test": 2}

SHARE = 0.08  # of a leaf's clips outside held-out packages that go to validation
_MOST = 0.20  # no family may bring a leaf beyond this share ...
_LAST_RESORT = 0.40  # ... unless the leaf would have no validation clips at all
_FAMILIES = 3  # at most one family of a leaf in so many (and at least one)
_FEWEST = 6  # leaves with fewer clips than this stay whole


@dataclass(frozen=True)
class Splits:
    """The groups: package names, family names, and hashes of near-duplicates that leave."""

    test_packages: tuple[str, ...]
    validation_packages: tuple[str, ...]
    validation_families: tuple[str, ...]
    near_duplicates: tuple[str, ...]

    def split_of(self, source: str, family: str) -> Split:
        """The group of a recording of package `source` and family `family`."""
        if source in self.test_packages:
            return "test"
        if source in self.validation_packages or family in self.validation_families:
            return "validation"
        return "train"


@lru_cache(maxsize=1)
def load_splits() -> Splits:
    """The groups committed with this version of the package."""
    return parse_splits(resources.files("sonopsis.data").joinpath("splits.json").read_text("utf-8"))


def parse_splits(text: str) -> Splits:
    """Splits from the JSON of splits.json; ValueError for a missing, unknown or wrong key."""
    return decode(Splits, json.loads(text))


def write_splits(splits: Splits, path: Path) -> None:
    """Write splits.json, every list sorted, one entry a line."""
    content = {name: sorted(values) for name, values in asdict(splits).items()}
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _rank(family: str) -> str:
    return hashlib.sha256(family.encode()).hexdigest()


def draw_validation_families(clips: Iterable[tuple[str, Iterable[str]]], share: float = SHARE) -> list[str]:
    """Families that go to validation so that about `share` of each leaf does, drawn by the hash of the family's name.

    clips are the family and the labels of each recording outside the held-out packages.  Leaves with few clips or one
    family may get none.
    """
    sizes: dict[str, Counter[str]] = defaultdict(Counter)  # family -> leaf -> clips
    for family, labels in clips:
        sizes[family].update(labels)
    totals: Counter[str] = Counter()
    for counts in sizes.values():
        totals.update(counts)
    drawn: Counter[str] = Counter()  # leaf -> clips
    used: Counter[str] = Counter()  # leaf -> families
    chosen: set[str] = set()

    # Leaves with few families first: they have the least choice.
    families = {leaf: sorted((f for f in sizes if sizes[f][leaf]), key=_rank) for leaf in totals}

    def fits(family: str, most: float) -> bool:
        return all(
            drawn[leaf] + n <= max(1.0, most * totals[leaf]) and used[leaf] < max(1, len(families[leaf]) // _FAMILIES)
            for leaf, n in sizes[family].items()
        )

    for leaf in sorted(totals, key=lambda name: (len(families[name]), former(name))):
        if totals[leaf] < _FEWEST or len(families[leaf]) < 2:
            continue
        for most in (_MOST, _LAST_RESORT):
            for family in families[leaf]:
                enough = drawn[leaf] > 0 if most > _MOST else drawn[leaf] >= share * totals[leaf]
                if not enough and family not in chosen and fits(family, most):
                    chosen.add(family)
                    drawn.update(sizes[family])
                    used.update(sizes[family].keys())
    return sorted(chosen)


def leaving(pairs: Iterable[tuple[int, int, float]], splits: Sequence[Split]) -> set[int]:
    """Of near-duplicate pairs (i, j, score) across groups, the members of the less strictly held-out group."""
    out: set[int] = set()
    for i, j, _ in pairs:
        if STRICTNESS[splits[i]] != STRICTNESS[splits[j]]:
            out.add(i if STRICTNESS[splits[i]] < STRICTNESS[splits[j]] else j)
    return out
