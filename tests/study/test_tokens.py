"""Tokens of tiny models: every layer is seen, pruning shows, a rerun continues, the page is whole."""

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
from sonopsis.study.page import write_tokens
from sonopsis.study.passes import Passes
from sonopsis.study.rank import FIGURES, figures
from sonopsis.study.tokens import study, window_figures


@pytest.fixture(scope="module")
def models(tiny_model: Path) -> list[Model]:
    """A model, and the same one with other weights that prunes on its own."""
    first, second = sonopsis.load(tiny_model, engine="torch"), sonopsis.load(tiny_model, engine="torch", keep_rate=0.5)
    with torch.no_grad():
        for block in Passes(second).tagger.encoder.blocks:
            for parameter in block.parameters():
                parameter.mul_(3)
    return [first, second]


@pytest.fixture(scope="module")
def clips(models: list[Model], root: Path) -> Clips:
    return find_clips(models[0], root / "manifest.jsonl", limit=5)


@pytest.fixture(scope="module")
def report(models: list[Model], clips: Clips, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return study(models, clips, tmp_path_factory.mktemp("study") / "p.jsonl")


def test_layers_are_what_enters_each_block_and_what_leaves_the_encoder(models: list[Model], clips: Clips) -> None:
    tagger = Passes(models[0]).tagger
    mel = clips.mels(models[0], clips.clips[0])[0]
    layers = window_figures(tagger, mel, uniform(4, 0.5))
    with torch.inference_mode():
        embedded, grid = tagger.encoder.embed(torch.as_tensor(mel))
        encoded = tagger.encoder(torch.as_tensor(mel), uniform(4, 0.5))
    assert len(layers) == 5
    patches = embedded[0, tagger.encoder.config.prefix_tokens :]
    assert layers[0] == {"tokens": grid[0] * grid[1], **figures(patches)}
    assert layers[-1] == {"tokens": encoded.tokens.shape[1], **figures(encoded.tokens[0])}
    assert [layer["tokens"] for layer in layers][1:] == [patches.shape[0], *(s.shape[1] for s in encoded.stages)]


def test_the_report_has_each_model_with_and_without_its_own_pruning(report: dict[str, Any], clips: Clips) -> None:
    assert report["clips"] == len(clips.clips) == 5
    assert [(row["model"], row["keep_rate"]) for row in report["rows"]] == [
        ("tiny (1)", 1.0),
        ("tiny (2)", 1.0),
        ("tiny (2)", 0.5),
    ]
    first, second, pruned = report["rows"]
    assert first["layers"] == ["into 0", "into 1", "into 2", "into 3", "out"]
    assert first["cosine"][0] == pytest.approx(second["cosine"][0])  # the blocks alone differ
    assert first["cosine"][-1] != pytest.approx(second["cosine"][-1], abs=1e-4)
    assert pruned["tokens"][-1] < second["tokens"][-1] and pruned["rank_0.9"][0] == second["rank_0.9"][0]
    for row in report["rows"]:
        for figure in FIGURES:
            low, high = row[f"{figure}_interval"][-1]
            assert low <= row[figure][-1] <= high
    json.dumps(report, allow_nan=False)


def test_an_interrupted_study_ends_with_the_same_figures(
    report: dict[str, Any], models: list[Model], clips: Clips, tmp_path: Path
) -> None:
    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study(models, clips, tmp_path / "p.jsonl", progress=stop)
    begun = (tmp_path / "p.jsonl").read_bytes()
    found = study(models, clips, tmp_path / "p.jsonl")
    assert found == report
    assert (tmp_path / "p.jsonl").read_bytes().startswith(begun)
    line = json.loads(begun.splitlines()[1])
    assert np.array(line["variants"]["tiny (2)@0.5"]["cosine"]).shape == (5,)  # a few numbers, whatever its length
    with pytest.raises(ValueError, match="other weights"):
        study(models[:1], clips, tmp_path / "p.jsonl")


def test_the_page_has_every_layer_and_five_pictures(report: dict[str, Any], tmp_path: Path) -> None:
    write_tokens(json.loads(json.dumps(report)), tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert page.count("<svg") == 5 and page.count("tiny (2), 0.5, into 3") == 1
    assert json.loads((tmp_path / "page.json").read_text())["rows"][0]["cosine"] == report["rows"][0]["cosine"]
