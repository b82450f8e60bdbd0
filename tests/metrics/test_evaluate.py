"""Evaluation: baselines, the template of tags, and figures from a scene file."""

import json
import runpy
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import sonopsis
from sonopsis.data.clips import ClipBank
from sonopsis.data.manifest import read
from sonopsis.folder import write_description
from sonopsis.metrics.calibration import best_thresholds, f1_at, reliability
from sonopsis.metrics.evaluate import (
    choose_threshold,
    choose_thresholds,
    evaluate,
    evaluate_tags,
    tag_figures,
    tag_scores,
    tag_sentence,
)
from sonopsis.ontology import former
from sonopsis.scenes.compose import compose
from sonopsis.scenes.scene import write_scenes
from sonopsis.scenes.words import parse


def test_the_template_names_the_tags_over_the_threshold_and_always_the_best() -> None:
    scores = {"Dog": 0.9, "Rain": 0.4, "Bird": 0.35, "Cattle, bovinae": 0.34, "Alarm": 0.33, "Cat": 0.1}
    assert parse(tag_sentence(scores, 0.3)) == ["Dog", "Rain", "Bird", "Cattle, bovinae"]  # four at most
    assert parse(tag_sentence(scores, 0.5)) == ["Dog"]
    assert parse(tag_sentence(scores, 0.95)) == ["Dog"]
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
    each = tagging["average_precision"]
    assert {label: found["clips"] for label, found in each.items()} == dict.fromkeys(each, 3) and len(each) == 5
    assert np.mean([found["average_precision"] for found in each.values()]) == pytest.approx(tagging["map"])
    assert tagging["reliability"]["count"] == 15 * 5 and tagging["reliability_of_the_best_label"]["count"] == 15
    assert sum(row["count"] for row in tagging["reliability"]["bins"]) == 15 * 5
    assert "recordings of the scene benchmark are not in" in figures["captions"]


def test_older_names_of_labels_count_as_todays(root: Path, tiny_model: Path) -> None:
    rows = read(root / "manifest.jsonl", "test")[:6]
    older = [replace(row, labels=tuple(map(former, row.labels))) for row in rows]
    model, own = sonopsis.load(tiny_model), sonopsis.load(tiny_model)
    own.labels = list(map(former, model.labels))  # as a model of somebody's own labels may have them
    figures = [evaluate_tags(used, given, [root]) for used, given in ((model, rows), (model, older), (own, rows))]
    assert figures[0]["clips"] > 0
    assert all(found["map"] == figures[0]["map"] and found["clips"] == figures[0]["clips"] for found in figures)


def test_thresholds_are_chosen_on_validation_clips_and_used_by_default(
    root: Path, tiny_model: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    rows, plain = read(root / "manifest.jsonl", "validation"), sonopsis.load(folder)
    chosen = choose_thresholds(plain, rows, [root])
    write_description(folder, replace(plain.folder.config, thresholds=chosen), plain.folder.mel)
    model = sonopsis.load(folder)
    assert model.folder.config.thresholds == chosen and list(chosen) == model.labels
    targets, scores, _ = tag_scores(model, rows, [root])
    assert list(chosen.values()) == best_thresholds(targets, scores)
    figures = evaluate(model, root / "manifest.jsonl", split="validation", root=root)["tagging"]
    present = targets.any(axis=0)
    limits = np.array(list(chosen.values()))[present]
    assert figures["f1"] == f1_at(targets[:, present], scores[:, present], limits)


def test_calibration_is_chosen_on_validation_data_and_used_by_default(
    root: Path, tiny_model: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    fields = json.loads((folder / "config.json").read_text()) | {"caption_samples": 2}
    (folder / "config.json").write_text(json.dumps(fields))
    script = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "calibrate.py"))
    chosen = script["main"](folder, root / "manifest.jsonl", 4)
    model, rows = sonopsis.load(folder), read(root / "manifest.jsonl", "validation")
    assert model.folder.config == chosen and chosen.calibration is not None and list(chosen.thresholds) == model.labels
    assert (chosen.calibration.sentence_slope is None) == (chosen.calibration.sentence_offset is None)
    after, before = (tag_scores(used, rows, [root]) for used in (model, sonopsis.load(tiny_model)))
    errors = [reliability(targets.ravel(), scores.ravel())["ece"] for targets, scores, _ in (after, before)]
    assert errors[0] < errors[1]


def test_one_scene_has_no_other_scene_to_be_compared_with(root: Path, tiny_model: Path, tmp_path: Path) -> None:
    bank = ClipBank(read(root / "manifest.jsonl", "test"), root)
    write_scenes(list(compose(bank.rows, seed=0, count=1, split="test")), tmp_path / "scenes.jsonl.gz")
    figures = evaluate(sonopsis.load(tiny_model), tmp_path / "scenes.jsonl.gz", root=root)["captions"]
    assert figures["scenes"] == 1 and "random_scene_caption" not in figures and "tag_template" in figures


def test_clips_of_several_labels_alone_have_a_mean_average_precision_and_no_accuracy() -> None:
    targets = np.array([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]])
    figures = tag_figures(["a", "b", "c"], targets, np.array([[0.9, 0.8, 0.1], [0.2, 0.7, 0.6]]))
    assert figures["map"] == 1.0 and figures["single_label_clips"] == 0
    assert figures["accuracy"] is figures["balanced_accuracy"] is figures["balanced_accuracy_interval"] is None


def test_nothing_to_evaluate_is_an_error(root: Path, tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text((root / "manifest.jsonl").read_text().replace("audio/", "gone/"))
    with pytest.raises(ValueError, match="no clip"):
        evaluate(sonopsis.load(tiny_model), tmp_path / "m.jsonl", root=tmp_path)
