"""Evaluation: baselines, the template of tags, and figures from a scene file."""

from pathlib import Path

import pytest

import sonopsis
from sonopsis.data.clips import ClipBank
from sonopsis.data.manifest import read
from sonopsis.metrics.evaluate import choose_threshold, evaluate, tag_sentence
from sonopsis.scenes.compose import compose
from sonopsis.scenes.scene import write_scenes
from sonopsis.scenes.words import parse


def test_the_template_names_the_tags_over_the_threshold_and_always_the_best() -> None:
    scores = {"dog": 0.9, "rain": 0.4, "bird": 0.35, "cow": 0.34, "horn": 0.33, "cat": 0.1}
    assert parse(tag_sentence(scores, 0.3)) == ["dog", "rain", "bird", "cow"]  # four at most
    assert parse(tag_sentence(scores, 0.5)) == ["dog"]
    assert parse(tag_sentence(scores, 0.95)) == ["dog"]
    assert tag_sentence({"an unknown label": 1.0}, 0.5) == "an unknown label"


def test_a_scene_file_is_scored_beside_its_baselines(root: Path, tiny_model: Path, tmp_path: Path) -> None:
    bank = ClipBank(read(root / "manifest.jsonl", "test"), root)
    scenes = list(compose(bank.rows, seed=0, count=12, split="test"))
    write_scenes(scenes, tmp_path / "scenes.jsonl.gz")
    model = sonopsis.load(tiny_model)
    figures = evaluate(model, tmp_path / "scenes.jsonl.gz", root=root)["captions"]
    assert figures["scenes"] == 12
    for name in ("model", "most_frequent_caption", "random_scene_caption", "tag_template"):
        assert 0 <= figures[name]["event_f1_leaf"] <= 1 and figures[name]["scenes"] == 12
    assert figures["random_scene_caption"]["event_f1_leaf"] > 0
    assert figures["most_frequent_caption"]["event_f1_leaf"] == 0  # the random model was trained on no captions
    assert 0 < choose_threshold(model, scenes, bank.read) < 1


def test_clips_are_scored_over_their_windows_and_the_benchmark_is_asked_for(root: Path, tiny_model: Path) -> None:
    # The model knows five of the six labels; the three clips of the sixth are left out.
    figures = evaluate(sonopsis.load(tiny_model), root / "manifest.jsonl", root=root)
    tagging = figures["tagging"]
    assert tagging["clips"] == tagging["single_label_clips"] == 15 and tagging["unread"] == 0
    low, high = tagging["map_interval"]
    assert low <= tagging["map"] <= high
    assert "recordings of the scene benchmark are not in" in figures["captions"]


def test_nothing_to_evaluate_is_an_error(root: Path, tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text((root / "manifest.jsonl").read_text().replace("audio/", "gone/"))
    with pytest.raises(ValueError, match="no clip"):
        evaluate(sonopsis.load(tiny_model), tmp_path / "m.jsonl", root=tmp_path)
