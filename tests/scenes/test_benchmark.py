"""The frozen benchmark keeps its promises, and is what its digest says."""

from collections import Counter
from dataclasses import replace

import pytest

from sonopsis.data.manifest import Row
from sonopsis.data.splits import Split, load_splits
from sonopsis.scenes import benchmark
from sonopsis.scenes.benchmark import benchmark_labels, load_benchmark, missing_clips
from sonopsis.scenes.compose import SHARES
from sonopsis.scenes.words import parse


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


def test_labels_need_clips_to_train_on_and_to_be_heard_in() -> None:
    dogs = [row("a", "dog", "train", "0"), row("b", "dog", "test", "1")] * 2
    assert benchmark_labels([*dogs, row("c", "cat", "test", "2")]) == {"dog"}
