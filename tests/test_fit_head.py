"""A second head that reads all blocks is joined with the first one."""

import shutil
from dataclasses import replace
from pathlib import Path

import fit_head
import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

import sonopsis
from sonopsis.encoder import PRESETS
from sonopsis.encoder.tagger import Tagger
from sonopsis.folder import ModelConfig
from sonopsis.mel import whisper_front_end
from sonopsis.modules import save


def test_the_regression_is_that_of_scikit_learn() -> None:
    """Whose penalty is half the squares, weighed against the sum of the losses and not against their mean."""
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((300, 5)) * [1, 10, 0.1, 1, 3] + 2
    targets = (inputs[:, 1] / 10 + rng.standard_normal(300) > 1).astype(float)
    both = torch.tensor(np.stack([targets, 1 - targets], axis=1), dtype=torch.float32)
    weight, bias = fit_head.regression(torch.tensor(inputs, dtype=torch.float32), both)
    scale = inputs.std(axis=0, ddof=1)
    strength = 1 / (2 * fit_head.DECAY * len(inputs))
    oracle = LogisticRegression(C=strength, class_weight="balanced", tol=1e-8).fit(inputs / scale, targets)
    np.testing.assert_allclose(weight[0].numpy() * scale, oracle.coef_[0], atol=2e-3)
    assert float(bias[0]) == pytest.approx(oracle.intercept_[0], abs=2e-2)


def test_the_joint_head_is_a_mean_on_one_scale() -> None:
    generator = torch.Generator().manual_seed(0)
    seen = torch.randn(50, 6, generator=generator)
    first = torch.nn.Linear(2, 3)
    second = torch.randn(2, 6, generator=generator), torch.randn(2, generator=generator)
    own = torch.tensor([0, 2])
    old = first(seen[:, :2])
    none, half, whole = (fit_head.joined(first, second, own, seen, share)(seen) for share in (0.0, 0.5, 1.0))
    torch.testing.assert_close(none, old)
    torch.testing.assert_close(half[:, 1], old[:, 1])
    new = seen @ second[0].T + second[1]
    same = (new - new.mean()) / new.std() * old[:, own].std() + old[:, own].mean()
    torch.testing.assert_close(whole[:, own], same)
    torch.testing.assert_close(half[:, own], (old[:, own] + same) / 2)


def test_a_folder_gets_a_head_that_reads_all_blocks(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit_head, "default_root", lambda: root)
    rows = [row for row in fit_head.read(root / "manifest.jsonl", "train") if row.labels]
    labels = sorted({name for row in rows for name in row.labels})
    encoder = replace(
        PRESETS["whisper-tiny"], width=16, depth=2, heads=2, frames=200, pooling="attention", token_norm=False
    )
    torch.manual_seed(0)
    config = ModelConfig([*labels, "Ocean"], encoder, keep_rate=0.7, distilled_labels=["Ocean"])
    save(Tagger(encoder, len(labels) + 1), tmp_path / "first", config, whisper_front_end(200))
    share = fit_head.main(tmp_path / "first", root / "manifest.jsonl", tmp_path / "joint")
    first, joint = (sonopsis.load(tmp_path / name, engine="torch") for name in ("first", "joint"))
    assert share in fit_head.SHARES and joint.engine.config.pooling == "layers" and joint.labels == first.labels
    mel = np.random.default_rng(0).standard_normal((1, 64, 80)).astype(np.float32)
    assert joint.logits(mel)[0, -1] == pytest.approx(first.logits(mel)[0, -1], abs=1e-3)  # of a label without clips
    shutil.rmtree(tmp_path / "first")
