"""The frozen benchmark keeps its promises, and is what its digest says."""

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from sonopsis.data.clips import Clip, ClipBank
from sonopsis.data.manifest import Row, read
from sonopsis.data.splits import Split, load_splits
from sonopsis.ontology import former
from sonopsis.scenes import benchmark
from sonopsis.scenes.benchmark import compose_benchmark, load_benchmark, missing_clips
from sonopsis.scenes.compose import SHARES, compose
from sonopsis.scenes.scene import freeze
from sonopsis.scenes.vocabulary import LEAVES
from sonopsis.scenes.words import parse

REAL = Path(os.environ.get("SONOPSIS_DATA", "/nonexistent")) / "manifest.jsonl"


def test_it_is_what_was_frozen() -> None:
    scenes = load_benchmark()
    assert len(scenes) >= 1000
    shares = Counter(scene.type for scene in scenes)
    assert {name: shares[name] / len(scenes) for name in SHARES} == pytest.approx(SHARES, abs=0.01)
    pieces = [piece for scene in scenes for piece in scene.pieces]
    labels = Counter(piece.label for piece in pieces)
    assert len(labels) >= 24 and max(labels.values()) < 0.1 * len(pieces)
    assert all(1 <= len(scene.events) <= 4 for scene in scenes)
    assert all(-10 <= event.gain_db <= 10 for scene in scenes for event in scene.events)
    assert {piece.path.split("/")[1] for piece in pieces} <= set(load_splits().test_packages)


@pytest.mark.slow
def test_every_scene_has_five_captions_of_its_facts_one_in_an_unseen_phrasing() -> None:
    for scene in load_benchmark():
        assert len(scene.captions) == 5 and scene.families.count("held_out") == 1
        for caption in scene.captions:
            assert sorted(parse(caption)) == sorted(scene.labels), caption


def test_its_labels_have_todays_names() -> None:
    labels = {label for scene in load_benchmark() for label in scene.labels}
    assert labels <= set(LEAVES)
    assert {"Cattle, bovinae", "Chicken, rooster", "Alarm"} <= labels


def test_another_file_is_not_taken_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "DIGEST", "0" * 64)
    with pytest.raises(ValueError, match="not benchmark version"):
        load_benchmark()


def row(path: str, label: str, split: Split, sha256: str) -> Row:
    return Row(path, 0.0, 1.0, (label,), (), "package", "package:family", "CC0-1.0", split, sha256)


def test_missing_recordings_are_listed() -> None:
    scenes = load_benchmark()[:3]
    rows = [row(piece.path, piece.label, "test", piece.sha256) for scene in scenes for piece in scene.pieces]
    assert missing_clips(scenes, rows) == set()
    changed = [replace(found, sha256="0") for found in rows]
    assert missing_clips(scenes, changed) == {found.path for found in rows}


def clips() -> list[Clip]:
    """Two test clips of each label, of which one label is not in the benchmark."""
    labels = ["Bass drum", *sorted({label for scene in load_benchmark() for label in scene.labels})]
    return [
        Clip.of(row(f"{label}-{number}.wav", label, "test", f"{label}-{number}"), [(0.0, 1.0)])
        for label in labels
        for number in range(2)
    ]


def test_the_benchmark_is_composed_again_from_clips_of_its_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    frozen, given = load_benchmark(), clips()
    own = [clip for clip in given if clip.labels != ("Bass drum",)]
    expected = list(compose(own, seed=2026, count=1200, split="test"))
    monkeypatch.setattr(benchmark, "load_benchmark", lambda: frozen)
    monkeypatch.setattr(benchmark, "DIGEST", freeze(scene.renamed(former) for scene in expected))
    assert compose_benchmark(given) == expected


def test_recordings_that_give_other_scenes_are_refused() -> None:
    with pytest.raises(ValueError, match="other scenes than benchmark version 1: fetch those of the profile test"):
        compose_benchmark(clips())


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_file(), reason="needs a built manifest under $SONOPSIS_DATA")
def test_the_real_recordings_give_the_frozen_scenes() -> None:
    assert compose_benchmark(ClipBank(read(REAL, "test"), REAL.parent).rows) == load_benchmark()
