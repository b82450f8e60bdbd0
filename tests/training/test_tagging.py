"""Validation of taggers hears each clip where it lies in its recording."""

from pathlib import Path

import numpy as np
import soundfile
import torch

import sonopsis
from sonopsis.captioning.captioner import Captioner
from sonopsis.data.clips import ClipBank
from sonopsis.data.manifest import Row
from sonopsis.mel import mel_input
from sonopsis.training.tagging import tag_clips


def test_validation_hears_the_part_of_a_recording_that_is_labelled(tiny_model: Path, tmp_path: Path) -> None:
    """A second of a tone, then a second of noise: each row has the scores of its own second."""
    time = np.arange(16_000) / 16_000
    tone, noise = np.sin(2 * np.pi * 440 * time) / 2, np.random.default_rng(0).uniform(-0.5, 0.5, 16_000)
    soundfile.write(tmp_path / "both.wav", np.concatenate([tone, noise]), 16_000, "PCM_16")
    rows = [
        Row("both.wav", start, start + 1.0, (label,), (), "one", "one", "CC0", "validation", str(start))
        for start, label in ((0.0, "Dog"), (1.0, "Cat"))
    ]
    model, bank = sonopsis.load(tiny_model, engine="torch"), ClipBank(rows, tmp_path)
    assert isinstance(model.module, Captioner)
    tagger, mel = model.module.tagger, model.folder.mel
    targets, scores = tag_clips(tagger, bank, model.labels, mel, None)
    assert targets.argmax(axis=1).tolist() == [model.labels.index("Dog"), model.labels.index("Cat")]
    whole = bank.read("both.wav")
    for second in (0, 1):
        heard = mel_input(whole[16_000 * second : 16_000 * (second + 1)], mel)
        with torch.inference_mode():
            expected = tagger(torch.from_numpy(heard))[0].numpy()
        np.testing.assert_allclose(scores[second], expected, atol=1e-5)
    assert np.abs(scores[0] - scores[1]).max() > 1e-3
