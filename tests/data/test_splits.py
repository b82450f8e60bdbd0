"""splits.json, how it assigns groups, and how validation families are drawn."""

import hashlib
import json
import os
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonopsis.data.catalogue import list_sources
from sonopsis.data.manifest import read
from sonopsis.data.splits import (
    Split,
    Splits,
    draw_validation_families,
    leaving,
    load_splits,
    parse_splits,
    write_splits,
)

REAL = Path(os.environ.get("SONOPSIS_DATA", "/nonexistent")) / "manifest.jsonl"
NEW = {"7kaa-data", "brainparty-data", "endless-sky-data", "lugaru-data", "pekka-kana-2-data"}  # since version 1
PUBLISHED = (
    ("test", 673, "03109bcd90e3c4b42c2f4185ef306df4b1d0cd173942235b22aefcff47de4b08"),
    ("validation", 468, "060ce6663332a6ca02a149c6998db037b3538dc138a18ca18d1adeed7af0e173"),
)
LEAVES = ("dog", "cat", "rain", "music")


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_committed_groups_agree_with_the_catalogue() -> None:
    splits = load_splits()
    sources = list_sources("full")
    assert set(splits.test_packages) == {source.package for source in sources if source.split == "test"}
    assert set(splits.validation_packages) == {source.package for source in sources if source.split == "validation"}


def test_groups_that_figures_were_published_for_stay() -> None:
    """Held-out packages may be added to validation; otherwise the groups and the benchmark are those of version 1."""
    splits = load_splits()
    groups = json.dumps([splits.test_packages, splits.validation_families])
    assert sha256(groups.encode()) == "3f8179d7e404269c5fdf551316204bea7b55a1c64270beae5cff4a0ef2cea3d9"
    assert {"sound-icons", "supertuxkart-data", "warmux-data", "yaru-theme-sound"} < set(splits.validation_packages)
    scenes = resources.files("sonopsis.scenes").joinpath("scenes-v1.jsonl.gz").read_bytes()
    assert sha256(scenes) == "0e09bf0e23204f7539f9b43104b421d4b2f5e2fbecf6b00f2dca186057eb0a07"


@pytest.mark.skipif(not REAL.is_file(), reason="needs the manifest of the full catalogue under $SONOPSIS_DATA")
def test_recordings_that_figures_were_published_for_stay() -> None:
    rows = [row for row in read(REAL) if row.source not in NEW]
    for split, count, digest in PUBLISHED:
        held_out = sorted((row.path, row.sha256) for row in rows if row.split == split)
        assert (len(held_out), sha256(json.dumps(held_out).encode())) == (count, digest)


def test_committed_groups_are_disjoint_and_sorted() -> None:
    splits = load_splits()
    assert not set(splits.test_packages) & set(splits.validation_packages)
    packages = {family.split(":")[0] for family in splits.validation_families}
    assert packages and not packages & {*splits.test_packages, *splits.validation_packages}
    assert packages <= {source.package for source in list_sources("full")}
    for values in (
        splits.test_packages,
        splits.validation_packages,
        splits.validation_families,
        splits.near_duplicates,
    ):
        assert list(values) == sorted(set(values))
    assert all(len(sha256) == 64 and set(sha256) <= set("0123456789abcdef") for sha256 in splits.near_duplicates)


def test_round_trip_and_unknown_keys(tmp_path: Path) -> None:
    splits = Splits(("t",), ("v",), ("a:x", "a:y"), ("0" * 64,))
    write_splits(splits, tmp_path / "splits.json")
    text = (tmp_path / "splits.json").read_text()
    assert parse_splits(text) == splits
    with pytest.raises(ValueError, match="near_duplicates"):
        parse_splits(json.dumps({key: value for key, value in json.loads(text).items() if key != "near_duplicates"}))
    with pytest.raises(ValueError, match="extra"):
        parse_splits(json.dumps({**json.loads(text), "extra": []}))


def test_packages_come_before_families() -> None:
    splits = Splits(("t",), ("v",), ("a:x", "t:x"), ())
    assert splits.split_of("t", "t:x") == "test"
    assert splits.split_of("v", "v:x") == "validation"
    assert splits.split_of("a", "a:x") == "validation"
    assert splits.split_of("a", "a:xy") == "train"


clips_of = st.lists(
    st.tuples(
        st.integers(0, 25).map("p:{}".format),
        st.lists(st.sampled_from(LEAVES), min_size=1, max_size=2, unique=True),
    ),
    max_size=150,
)


@settings(max_examples=60, deadline=None)
@given(clips=clips_of, order=st.randoms(use_true_random=False))
def test_draw_keeps_its_bounds(clips: list[tuple[str, list[str]]], order) -> None:  # type: ignore[no-untyped-def]
    chosen = set(draw_validation_families(clips))
    assert chosen <= {family for family, _ in clips}
    for leaf in LEAVES:
        families = [family for family, labels in clips if leaf in labels]  # of each clip
        assert sum(family in chosen for family in families) <= max(1, 0.4 * len(families))
        assert len(set(families) & chosen) <= max(1, len(set(families)) // 3)
    shuffled = list(clips)
    order.shuffle(shuffled)
    assert set(draw_validation_families(shuffled)) == chosen  # depends on names and counts alone


def test_every_leaf_with_enough_families_gets_some() -> None:
    chosen = draw_validation_families((f"p:{leaf}{n % 20}", [leaf]) for leaf in LEAVES for n in range(100))
    for leaf in LEAVES:
        assert 8 <= 5 * sum(family.startswith(f"p:{leaf}") for family in chosen) <= 20


def test_a_leaf_of_one_family_stays_whole() -> None:
    assert draw_validation_families([("p:only", ["dog"])] * 50) == []


def test_of_near_duplicates_the_less_strict_leaves() -> None:
    groups: list[Split] = ["train", "validation", "test", "train", "validation"]
    pairs = [(0, 2, 1.0), (1, 2, 0.99), (1, 3, 0.98), (0, 3, 1.0), (1, 4, 1.0)]
    assert leaving(pairs, groups) == {0, 1, 3}
