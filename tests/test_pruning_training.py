"""Encoders trained for each way to prune: who teaches them, how they differ, and that no run is done twice."""

import json
from dataclasses import replace
from pathlib import Path

import pruning_check
import pruning_tasks
import pruning_trained
import pruning_training
import pytest
from pruning_training import NO_PRUNING, QUARTER, Fold, Recipe, Variant, configuration, finetune, recipe

from sonopsis.data.manifest import Row, read
from sonopsis.training.config import TrainConfig


def row(voice: str, fold: int, word: str = "hello") -> Row:
    split = pruning_tasks._split(voice, fold)
    return Row(f"{voice}.ogg", 0.0, 1.0, (word,), (), voice, voice, "CC0", split, voice)


def test_all_voices_but_those_of_the_test_teach(tmp_path: Path) -> None:
    for number in range(pruning_tasks.FOLDS):
        fold = Fold(number, tmp_path, [row(voice, number) for voice in pruning_tasks.VOICES])
        taught = read(fold.manifest("words", tmp_path), "train")
        tested = {one.source for one in fold.rows if one.split == "test"}
        assert len(taught) == 8 and len(tested) == 2 and not tested & {one.source for one in taught}
        others = read(fold.manifest("general", tmp_path), None)
        assert [one.split for one in others].count("validation") == 2 and len(others) == 8
        rare = [row(one.source, number, "rare") for one in others if one.split == "validation"]
        known = read(Fold(number, tmp_path, [*fold.rows, *rare]).manifest("general", tmp_path), None)
        assert known == others, "a label that no training clip has cannot be learned"


def test_an_arm_differs_from_the_longer_parent_in_its_pruning_alone(tmp_path: Path) -> None:
    how = recipe("whisper", "words")

    def made(variant: Variant | None) -> TrainConfig:
        return configuration(variant, tmp_path, how, tmp_path / "m.jsonl", tmp_path / "out", 2)

    parent, longer = made(None), made(NO_PRUNING)
    arms = [made(Variant("topk", 0.5, 0.5, None, "topk")), made(Variant("random", 0.5, 0.51, "random", "topk"))]
    assert parent.pruning.schedule == longer.pruning.schedule == "none"
    assert (parent.steps, longer.steps) == (how.steps, how.steps // QUARTER) and parent.seed != longer.seed
    for arm, rate in zip(arms, (0.5, 0.51), strict=True):
        assert replace(arm, pruning=longer.pruning) == longer
        assert (arm.pruning.schedule, arm.pruning.keep_rate) == ("cosine", rate)
    assert [arm.pruning.score for arm in arms] == [None, "random"]


def test_a_row_trained_anew_is_held_against_the_old_one() -> None:
    said = {"macs": [2.0, 2.0], "top": [0, 1, 1]}
    runs = {"parent": {"unpruned": said}, "unpruned": {"unpruned": said}, "topk@0.6": {"topk@0.6": said}}
    fold = {"clips": [["a", "A", [0]], ["b", "B", [0, 1]], ["c", "B", [0]]], "runs": runs}
    old = {"labels": ["Dog", "Cat"], "folds": [fold]}
    again = {name: said for name, said in runs.items() if name != "unpruned"}  # which is not compared
    again["topk@0.6"] = {"topk@0.6": said | {"top": [0, 1, 0]}}
    new = old | {"folds": [fold | {"runs": again}]}
    same = "the same best label for 3 of 3 clips; accuracy 66.7 % anew, 66.7 % in the repository"
    assert pruning_check.compare(new, old, parent=True) == [f"the parent under unpruned@1: {same}"]
    assert pruning_check.compare(new, old, parent=False) == [
        "topk@0.6: the same best label for 2 of 3 clips; accuracy 100.0 % anew, 66.7 % in the repository"
    ]
    with pytest.raises(ValueError, match="fetch the recordings"):
        pruning_check.compare(new, old | {"folds": [fold | {"clips": fold["clips"][:2]}]}, parent=True)


@pytest.mark.slow
def test_each_run_is_done_once(tiny_model: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two folds of a tiny model; the page's table has each arm on the clips of both, and costs fall with the rate."""
    known = {"Dog", "Cat", "Water", "Speech", "Bird", "Alarm"}
    rows = [one for one in read(root / "manifest.jsonl", None) if one.labels and known.issuperset(one.labels)]
    tests = [one for one in rows if one.split == "test"]
    parts = [[one for one in rows if one.split != "test" or one in tests[half::2]] for half in (0, 1)]
    monkeypatch.setenv("SONOPSIS_DATA", str(root))
    monkeypatch.setattr(pruning_training, "fit_heads", lambda *_: [tiny_model, tiny_model])
    monkeypatch.setattr(pruning_training, "folds", lambda _: parts)
    short = Recipe("general", 4, "all", 1e-4, 1e-4, 0.0, (("unpruned", 1.0), ("topk", 0.5), ("random", 0.5)))
    monkeypatch.setattr(pruning_training, "recipe", lambda *_: short)
    trained = []
    monkeypatch.setattr(pruning_training, "run", lambda config, run=pruning_training.run: trained.append(run(config)))
    results = tmp_path / "results.json"
    finetune("tiny", "general", tmp_path, 3, results)
    assert len(trained) == 2 * 4
    first = json.loads(results.read_text())
    finetune("tiny", "general", tmp_path, 3, results)
    assert len(trained) == 2 * 4 and json.loads(results.read_text()) == first
    del first["folds"][1]["runs"]["topk@0.5"]  # as if it had been stopped after training
    results.write_text(json.dumps(first))
    finetune("tiny", "general", tmp_path, 3, results)
    found = json.loads(results.read_text())
    assert len(trained) == 2 * 4 and list(found["folds"][0]["runs"]) == ["parent", "unpruned", "topk@0.5", "random@0.5"]

    stopped = tmp_path / "results" / "0" / "topk@0.5" / "model" / "config.json"
    written = json.loads(stopped.read_text())
    stopped.write_text(json.dumps(written | {"training": {}}))  # as if training had been stopped after a checkpoint
    del found["folds"][0]["runs"]["topk@0.5"]
    results.write_text(json.dumps(found))
    finetune("tiny", "general", tmp_path, 3, results)
    found = json.loads(results.read_text())
    assert len(trained) == 2 * 4 + 1 and json.loads(stopped.read_text())["training"]["steps"] == 1

    part = tmp_path / "part.json"
    finetune("tiny", "general", tmp_path, 3, part, only=("parent", "topk@0.5"))
    assert [list(fold["runs"]) for fold in json.loads(part.read_text())["folds"]] == [["parent", "topk@0.5"]] * 2
    assert pruning_check.compare(json.loads(part.read_text()), found, parent=False)[0].startswith(
        "topk@0.5: the same best"
    )

    trained, parent = (pruning_trained.joined(found, parent=which) for which in (False, True))
    assert [clip[0] for clip in trained["clips"]] == [one.path for one in tests[0::2] + tests[1::2]]
    for table in trained, parent:
        macs = {one["arm"]: one["macs"][1] for one in table["variants"]}
        assert next(iter(macs)) == "unpruned" and len(macs) == 3
        assert macs["topk"] < 0.8 * macs["unpruned"] and macs["random"] == pytest.approx(macs["topk"], rel=0.05)
