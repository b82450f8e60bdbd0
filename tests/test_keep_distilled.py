"""Labels that only the teacher taught stay where the tagger agrees with it."""

from dataclasses import replace
from pathlib import Path

import keep_distilled
import numpy as np
import pytest

import sonopsis
from sonopsis.encoder import PRESETS
from sonopsis.encoder.tagger import Tagger
from sonopsis.folder import ModelConfig
from sonopsis.mel import whisper_front_end
from sonopsis.modules import save


def test_agreement_is_the_precision_of_finding_what_the_teacher_heard() -> None:
    heard = np.array([0.9, 0.8, 0.7, 0.5, 0.3, 0.2, 0.0, 0.0, 0.0, 0.0])
    assert keep_distilled.agreement(heard, heard) == 1.0
    assert keep_distilled.agreement(heard, -heard) < 0.5
    assert np.isnan(keep_distilled.agreement(heard[2:], heard[2:]))  # heard in four windows: too few to tell


def test_the_kept_labels_score_as_before(tmp_path: Path) -> None:
    encoder = replace(PRESETS["whisper-tiny"], width=16, depth=2, heads=2, frames=200)
    config = ModelConfig(["Dog", "Ocean", "Siren"], encoder, distilled_labels=["Ocean", "Siren"])
    save(Tagger(encoder, 3), tmp_path, config, whisper_front_end(200))
    model = sonopsis.load(tmp_path, engine="torch")
    mel = np.random.default_rng(0).standard_normal((1, 64, 80)).astype(np.float32)
    before = model.logits(mel)[0]
    keep_distilled.keep(model, tmp_path, ["Dog", "Siren"])
    after = sonopsis.load(tmp_path, engine="torch")
    assert after.labels == ["Dog", "Siren"] and after.folder.config.distilled_labels == ["Siren"]
    assert after.logits(mel)[0].tolist() == pytest.approx(before[[0, 2]].tolist(), abs=1e-3)
