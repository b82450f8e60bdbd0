"""No recording that is held out can reach training through the function all loaders read with."""

import json
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonopsis.data import manifest
from sonopsis.data.splits import STRICTNESS, load_splits

GROUPS = tuple(STRICTNESS)
REAL = Path(os.environ.get("SONOPSIS_DATA", "/nonexistent")) / "manifest.jsonl"

LISTED = load_splits().near_duplicates
# Few hashes, so that the same one turns up in several groups, as in a manifest edited by hand or put together from two.
SYNTHETIC = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c", "d", *LISTED[:3]]), st.sampled_from(GROUPS)), max_size=40
)


@settings(max_examples=150, deadline=None)
@given(rows=SYNTHETIC)
def test_no_held_out_hash_and_no_listed_duplicate_is_ever_read(rows: list[tuple[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "manifest.jsonl")
        path.write_text("".join(json.dumps({"sha256": sha, "split": split}) + "\n" for sha, split in rows))
        read = {split: {row["sha256"] for row in manifest.read(path, split=split)} for split in GROUPS}  # type: ignore[arg-type]
    in_group = {split: {sha for sha, group in rows if group == split} for split in GROUPS}
    listed = set(LISTED)
    assert not read["train"] & (in_group["validation"] | in_group["test"] | listed)
    assert not read["validation"] & (in_group["test"] | listed)
    # and nothing else is lost
    assert read["test"] == in_group["test"]
    assert read["validation"] == in_group["validation"] - in_group["test"] - listed
    assert read["train"] == in_group["train"] - in_group["validation"] - in_group["test"] - listed


@pytest.mark.skipif(not REAL.is_file(), reason="needs a built manifest under $SONOPSIS_DATA")
def test_the_real_manifest_does_not_leak() -> None:
    splits = load_splits()
    rows = {split: manifest.read(REAL, split=split) for split in GROUPS}  # type: ignore[arg-type]
    hashes = {split: {row["sha256"] for row in rows[split]} for split in GROUPS}
    families = {split: {row["family"] for row in rows[split]} for split in GROUPS}
    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        assert hashes[one] and hashes[other]
        assert not hashes[one] & hashes[other]
        assert not families[one] & families[other]
    assert not (hashes["train"] | hashes["validation"]) & set(splits.near_duplicates)
    held_out = {*splits.test_packages, *splits.validation_packages}
    assert not {row["source"] for row in rows["train"]} & held_out
    assert {row["source"] for row in rows["test"]} <= set(splits.test_packages)
