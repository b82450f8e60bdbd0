"""POST /v1/patches: survivors as `Model.encode` tells them, costs as `encoder_macs` counts them."""

import base64
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from sonopsis.cost.macs import encoder_macs
from sonopsis.mel import mel_input
from sonopsis.model import Model
from sonopsis.serve.patches import levels


def ask(address: str, recording: Path, query: str) -> Any:
    request = urllib.request.Request(f"{address}v1/patches?{query}", recording.read_bytes(), method="POST")
    request.add_header("Content-Type", "application/octet-stream")
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def test_a_window_at_several_keep_rates(address: str, model: Model, sounds: Path) -> None:
    found = ask(address, sounds / "noise.wav", "number=1&keep_rate=1&keep_rate=0.5")
    samples, _ = soundfile.read(sounds / "noise.wav", dtype="float32")
    length, beyond = round(16_000 * model.window), model.folder.mel.beyond  # a window is heard to its last frame
    mel = mel_input(samples[length : 2 * length + beyond], model.folder.mel)  # (1, T, M)
    assert found["start"] == found["seconds"] == found["window"] == model.window
    assert found["grid"] == {"time": 16, "frequency": 8} and found["keep_rate"] == model.keep_rate
    for rate, row in zip((1.0, 0.5), found["rates"], strict=True):
        stages = model.encode(mel, keep_rate=rate).stages
        survived = [sum(cell in stage[0] for stage in stages) for cell in range(16 * 8)]
        assert row["survived"] == survived and row["keep_rate"] == rate
        assert row["tokens"] == [128, *(stage.shape[1] for stage in stages)]
        macs = encoder_macs(model.engine.config, mel.shape[1], rate, len(model.labels))
        assert row["macs_g"] == {"reference": macs.reference, "executed": macs.executed}
        assert row["milliseconds"] > 0
        tags = model.tag(sounds / "noise.wav", top_k=3, keep_rate=rate)[1].labels
        assert [best["label"] for best in row["labels"]] == [label for label, _ in tags]
        assert [best["score"] for best in row["labels"]] == pytest.approx([score for _, score in tags])
    image = np.frombuffer(base64.b64decode(found["mel"]["levels"]), np.uint8).reshape(256, 128)
    assert image.min() == 0 and image.max() == 255
    assert np.corrcoef(image.ravel(), mel[0].ravel())[0, 1] > 0.9999


def test_without_a_keep_rate_it_is_the_models_own(address: str, model: Model, sounds: Path) -> None:
    (row,) = ask(address, sounds / "deep" / "tone.flac", "")["rates"]
    assert row["keep_rate"] == model.keep_rate


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("number=3", "no window 3"),
        ("number=-1", "number"),
        ("keep_rate=0", "keep_rate"),
        ("keep_rate=1.5", "keep_rate"),
        ("&".join(["keep_rate=0.5"] * 11), "keep_rate"),
        ("rate=0.5", "rate"),
    ],
)
def test_what_cannot_be_answered_is_said(address: str, sounds: Path, query: str, words: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as error:
        ask(address, sounds / "noise.wav", query)
    assert error.value.code == 422 and words in json.load(error.value)["error"]["message"]


def test_a_spectrogram_of_one_value_is_black() -> None:
    assert base64.b64decode(levels(np.full((2, 3), 0.5, np.float32))) == bytes(6)
