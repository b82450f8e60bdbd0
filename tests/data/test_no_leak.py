"""No recording that is held out can reach training through the function all loaders read with, nor by any stage."""

import hashlib
import json
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from sonopsis.data import manifest
from sonopsis.data.clips import ClipBank
from sonopsis.data.manifest import Row
from sonopsis.data.splits import STRICTNESS, Split, load_splits
from sonopsis.training import run
from sonopsis.training.config import TrainConfig
from sonopsis.training.crops import Crops
from sonopsis.training.loop import Task

GROUPS = tuple(STRICTNESS)
LABELS = ("Dog", "Cattle, bovinae", "Bird", "Water", "Alarm")  # scenes need five
REAL = Path(os.environ.get("SONOPSIS_DATA", "/nonexistent")) / "manifest.jsonl"

LISTED = load_splits().near_duplicates
# Few hashes, so that the same one turns up in several groups, as in a manifest edited by hand or put together from two.
SYNTHETIC = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c", "d", *LISTED[:3]]), st.sampled_from(GROUPS)), max_size=40
)


@settings(max_examples=150, deadline=None)
@given(rows=SYNTHETIC)
def test_no_held_out_hash_and_no_listed_duplicate_is_ever_read(rows: list[tuple[str, Split]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "manifest.jsonl")
        manifest.write((Row("a", 0.0, 1.0, (), (), "p", "p:a", "CC0", split, sha) for sha, split in rows), path)
        read = {split: {row.sha256 for row in manifest.read(path, split=split)} for split in GROUPS}
    in_group = {split: {sha for sha, group in rows if group == split} for split in GROUPS}
    listed = set(LISTED)
    assert not read["train"] & (in_group["validation"] | in_group["test"] | listed)
    assert not read["validation"] & (in_group["test"] | listed)
    # and nothing else is lost
    assert read["test"] == in_group["test"]
    assert read["validation"] == in_group["validation"] - in_group["test"] - listed
    assert read["train"] == in_group["train"] - in_group["validation"] - in_group["test"] - listed


@pytest.mark.parametrize("stage", run.TASKS)
def test_no_stage_of_training_is_given_a_held_out_recording(
    stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every test and validation recording stands in the training rows too, under another name: none gets through."""
    rows = []
    for number, (label, split) in enumerate((label, split) for label in LABELS for split in GROUPS):
        for copy in {split, "train"}:
            path = f"{copy}-{number}.wav"
            soundfile.write(tmp_path / path, np.random.default_rng(number).uniform(-0.3, 0.3, 8_000), 16_000)
            sha256 = hashlib.sha256((tmp_path / path).read_bytes()).hexdigest()
            row = {"path": path, "start": 0.0, "end": 0.5, "labels": [label], "captions": [], "sha256": sha256}
            rows.append(row | {"split": copy, "source": copy, "family": f"{copy}:{number}", "licence": "CC0-1.0"})
    for name in ("manifest.jsonl", "unlabelled.jsonl"):  # the second one is heard by stages that need no labels
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = tmp_path / "config.yaml"
    tiny = "encoder: {width: 16, depth: 1, heads: 2, stem: patch}\n"
    tiny += "language_model: {width: 16, depth: 1, state: 8, head_dim: 8, vocabulary: 300}"
    config.write_text(f"stage: {stage}\noutput: {tmp_path}\ndata: {{root: {tmp_path}}}\n{tiny}\n")

    class Stop(Exception):
        pass

    def stop(task: Task, config: TrainConfig) -> Path:  # what would be fitted is complete here: nothing has to be
        given = {name: bank.rows for name, bank in vars(task).items() if isinstance(bank, ClipBank)}
        given |= {name: [row for _, row in some.clips] for name, some in vars(task).items() if isinstance(some, Crops)}
        hashes = {name: {row.sha256 for row in heard} for name, heard in given.items()}
        held_out = {split: {row["sha256"] for row in rows if row["split"] == split} for split in GROUPS}
        assert len(hashes["train"]) == len(hashes["validation"]) == len(LABELS)
        assert not hashes["train"] & (held_out["validation"] | held_out["test"])
        assert not hashes["validation"] & held_out["test"]
        raise Stop

    monkeypatch.setattr(run, "fit", stop)
    with pytest.raises(Stop):
        run.train(config)


@pytest.mark.skipif(not REAL.is_file(), reason="needs a built manifest under $SONOPSIS_DATA")
def test_the_real_manifest_does_not_leak() -> None:
    splits = load_splits()
    rows = {split: manifest.read(REAL, split=split) for split in GROUPS}
    hashes = {split: {row.sha256 for row in rows[split]} for split in GROUPS}
    families = {split: {row.family for row in rows[split]} for split in GROUPS}
    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        assert hashes[one] and hashes[other]
        assert not hashes[one] & hashes[other]
        assert not families[one] & families[other]
    assert not (hashes["train"] | hashes["validation"]) & set(splits.near_duplicates)
    held_out = {*splits.test_packages, *splits.validation_packages}
    assert not {row.source for row in rows["train"]} & held_out
    assert {row.source for row in rows["test"]} <= set(splits.test_packages)
