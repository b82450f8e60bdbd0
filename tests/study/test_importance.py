"""Importance on tiny recordings: the right patches are dropped, sums are those of the clips, a rerun continues."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import sonopsis
from sonopsis.model import Model
from sonopsis.pruning import uniform
from sonopsis.study.clips import Clips, find_clips
from sonopsis.study.importance import ablations, overlays, study
from sonopsis.study.passes import Passes
from sonopsis.study.patches import Clusters, observe, statistics


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Model:
    return sonopsis.load(tiny_model, engine="torch")


@pytest.fixture(scope="module")
def clips(model: Model, root: Path) -> Clips:
    return find_clips(model, root / "manifest.jsonl", limit=7)


@pytest.fixture(scope="module")
def report(model: Model, clips: Clips, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return study(model, clips, tmp_path_factory.mktemp("study") / "p.jsonl")


def test_statistics_are_those_of_the_patch_in_grid_order(model: Model) -> None:
    mel = np.random.default_rng(0).standard_normal((1, 64, 128)).astype(np.float32)
    found = statistics(mel, Passes(model).config)
    patch = mel[0, 16:32, 48:64]  # second time step, fourth band of eight
    assert found["mean"].shape == (32,)
    assert found["mean"][11] == pytest.approx(patch.mean(), abs=1e-6)
    assert found["std"][11] == pytest.approx(patch.std(ddof=1), rel=1e-5)


@pytest.mark.parametrize("statistic", ["mean", "std"])
def test_low_and_high_ablations_drop_equally_many_from_the_two_ends(model: Model, clips: Clips, statistic: str) -> None:
    passes = Passes(model)
    mel = clips.mels(model, clips.clips[0])[0]
    values = statistics(mel, passes.config)
    clusters = Clusters.of(values)
    chosen = ablations(passes, clusters, 0.5, seed=0)
    lowest = int((clusters.numbers(statistic, values[statistic]) < 2).sum())
    order = np.argsort(values[statistic], kind="stable")
    for side, left in (("low", order[lowest:]), ("high", order[: len(order) - lowest])):
        pruning = chosen[f"drop {side} {statistic}"](mel)
        (stage,) = observe(passes.tagger.encoder, mel, pruning).stages
        assert len(stage) == len(order) - lowest > 0
        assert np.sort(values[statistic][stage]) == pytest.approx(np.sort(values[statistic][left]))


def test_observing_changes_nothing_and_sees_the_attention_that_decides(model: Model, clips: Clips) -> None:
    passes = Passes(model)
    mel = clips.mels(model, clips.clips[0])[0]
    encoder, pruning = passes.tagger.encoder, uniform(passes.config.depth, 0.5)
    with torch.inference_mode():
        plain = encoder(torch.as_tensor(mel), pruning)
    seen = observe(encoder, mel, pruning)
    for ours, theirs in zip(seen.stages, plain.stages, strict=True):
        assert np.array_equal(ours, theirs[0])
    for stage, block in enumerate((1, 2, 3)):  # the highest scores of those that entered survive
        cells, scores = seen.cells[block], seen.scores[block]
        best = np.sort(cells[np.argsort(-scores, kind="stable")[: len(seen.stages[stage])]])
        assert np.array_equal(best, seen.stages[stage])


def test_figures_of_the_report(report: dict[str, Any], model: Model) -> None:
    kept = [stages[-1] for stages in report["retained"].values()]
    assert all(0 <= share <= 1 for shares in kept for share in shares)
    assert report["retained"]["mean"][0] == [1.0] * 5
    shares = np.array(report["clusters"]["shares"]["mean"])
    assert shares.sum() == pytest.approx(1) and shares @ kept[0] == pytest.approx(0.125, abs=0.06)
    assert sum(report["maps"]["survivors"]) < sum(report["maps"]["input"])
    assert len(report["kendall"]["std"]) == len(report["attention"]) == 4
    for block in report["attention"]:  # both together are the uniform share
        assert min(block.values()) <= 1 <= max(block.values())
    rows = {(row["ablation"], row["against"]): row for row in report["ablations"]}
    low, high = rows["drop low mean", "unpruned"], rows["drop high mean", "unpruned"]
    contrast = rows["drop low mean", "drop high mean"]
    assert contrast["accuracy_difference"] == pytest.approx(low["accuracy"] - high["accuracy"])
    json.dumps(report, allow_nan=False)


def test_an_interrupted_study_ends_with_the_same_figures(
    report: dict[str, Any], model: Model, clips: Clips, tmp_path: Path
) -> None:
    def stop(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study(model, clips, tmp_path / "p.jsonl", progress=stop)
    begun = (tmp_path / "p.jsonl").read_bytes()
    assert study(model, clips, tmp_path / "p.jsonl") == report
    assert (tmp_path / "p.jsonl").read_bytes().startswith(begun)
    with pytest.raises(ValueError, match="other keep_rate"):
        study(model, clips, tmp_path / "p.jsonl", keep_rate=0.7)


def test_overlays_show_every_stage(model: Model, clips: Clips) -> None:
    (first, *_, last) = overlays(model, clips, 0.5)
    assert first["clip"] != last["clip"] and len(first["pictures"]) == 4
    assert first["counts"] == sorted(first["counts"], reverse=True)
    assert all(picture.startswith("data:image/png;base64,") for picture in first["pictures"])
