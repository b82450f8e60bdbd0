"""`second_encoder`: a captioner that reads two encoders is trained, carried on, and kept apart from others."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import sonopsis
from sonopsis.captioning.captioner import Captioner
from sonopsis.encoder import PRESETS, EncoderConfig
from sonopsis.encoder.tagger import Tagger
from sonopsis.facts import describe_model
from sonopsis.folder import ModelConfig
from sonopsis.mel import MelConfig, whisper_front_end
from sonopsis.modules import save
from sonopsis.training.building import build_captioner
from sonopsis.training.config import TrainConfig
from sonopsis.training.configfile import load_config
from sonopsis.training.heard import place
from sonopsis.training.run import train
from sonopsis.training.second import open_second
from sonopsis.training.start import FRONT_ENDS, open_start

Make = Callable[..., TrainConfig]


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A tagger with patches of its own, which hears the log-Mel of the preset `small` on another scale."""
    torch.manual_seed(3)
    encoder = EncoderConfig(family="sonopsis", width=8, depth=2, heads=2, frames=1024, patch=(8, 64), stride=(8, 64))
    config = ModelConfig(["Dog", "Cat"], encoder)
    folder = tmp_path / "other"
    save(Tagger(encoder, 2), folder, config, replace(FRONT_ENDS["small"], mean=-5.0, std=7.0))
    return folder


def captioner(config: TrainConfig) -> Captioner:
    start = open_start(config)
    found, _ = build_captioner(config, start, start.labels or ["Dog"], lambda: ["a dog barks"])
    return found


def test_it_hears_its_own_scale(make_config: Make, other: Path) -> None:
    config = make_config("captioning", second_encoder=str(other))
    found = open_second(config, open_start(config))
    assert found is not None
    mel = torch.randn(10, 128)
    energies = mel * (2 * 3.5) - 9.0  # what the preset makes of a log-Mel is (x - mean) / (2 * std)
    torch.testing.assert_close(mel * found.config.scale + found.config.shift, (energies + 5.0) / (2 * 7.0))


def test_a_captioner_of_two_encoders_is_trained_and_carried_on(
    write_run: Callable[..., Path], other: Path, lm: dict[str, Any], sounds: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "sonopsis")
    folder = train(write_run("captioning", "first", second_encoder=str(other), language_model=lm, connector={}))
    model = sonopsis.load(folder)
    assert model.engine.name == "torch" and isinstance(model.module, Captioner)
    assert model.folder.config.second is not None and model.module.connector.config.second == 2 * 8
    second, theirs = model.module.second, sonopsis.load(other).module.encoder
    assert second is not None and all(map(torch.equal, second.state_dict().values(), theirs.state_dict().values()))
    assert isinstance(model.caption(sounds / "noise.wav")[0].text, str)
    assert "model has no graphs; some of its parts are computed by torch alone" in caplog.text
    assert describe_model(model)["parts"]["second encoder"] == sum(p.numel() for p in second.parameters())

    path = write_run("captioning", "next", model=str(folder), labels="inherit")
    again = captioner(load_config(path))
    for name, value in again.connector.state_dict().items():
        torch.testing.assert_close(value, model.module.connector.state_dict()[name])
    assert again.second_config == model.folder.config.second
    assert sonopsis.load(train(path)).folder.config.second == model.folder.config.second


def test_it_begins_as_the_captioner_that_it_carries_on(
    write_run: Callable[..., Path], other: Path, lm: dict[str, Any]
) -> None:
    folder = train(write_run("captioning", "first", language_model=lm, connector={}))
    before = captioner(load_config(write_run("captioning", "a", model=str(folder), labels="inherit"))).eval()
    config = load_config(write_run("captioning", "b", model=str(folder), labels="inherit", second_encoder=str(other)))
    after, mel = captioner(config).eval(), torch.randn(1, 256, 128)
    assert after.connector.config.second == 16
    torch.testing.assert_close(after.connector(after.encode(mel)), before.connector(before.encode(mel)))


def test_what_two_encoders_heard_is_kept_apart(make_config: Make, other: Path) -> None:
    class Source:
        mel, labels, seed = MelConfig(), ["Dog"], 0

    keys = {"encoder": {"train": "frozen"}}
    places = set()
    for second in (None, str(other), str(other)):
        config = make_config("captioning", second_encoder=second, **keys)
        torch.manual_seed(0)
        places.add(place("scenes", captioner(config), Source(), config, {}))
    assert len(places) == 2


def test_what_cannot_be_a_second_encoder_is_refused(make_config: Make, other: Path, tmp_path: Path) -> None:
    for keys, says in (
        ({"second_encoder": "small"}, "second_encoder: small has no weights"),
        ({"second_encoder": str(tmp_path / "none")}, r"second_encoder: .*none: no such model"),
        ({"second_encoder": str(other), "connector": {"layout": "time_major"}}, "second_encoder: .*time_major"),
        ({"second_encoder": str(other), "model": "eat"}, "hears another log-Mel than eat: .*padding"),
        ({"second_encoder": str(other), "model": "whisper-tiny"}, "kind whisper and kaldi"),
    ):
        config = make_config("captioning", **keys)
        with pytest.raises(ValueError, match=says):
            captioner(config)


def test_a_run_of_encoders_without_prefix_tokens_is_continued(
    write_run: Callable[..., Path], lm: dict[str, Any], tmp_path: Path
) -> None:
    """Whisper's have none, so that both have a tensor of no size, which some formats take for the same one."""
    second = tmp_path / "ear"
    encoder = replace(PRESETS["whisper-tiny"], width=16, depth=1, heads=2)
    save(Tagger(encoder, 0), second, ModelConfig([], encoder), whisper_front_end())
    keys: dict[str, Any] = {
        "model": "whisper-tiny", "second_encoder": str(second), "language_model": lm, "connector": {"pool": 16},
        "encoder": {"width": 16, "depth": 2, "heads": 2}, "save_every": 1,
    }  # fmt: skip
    train(write_run("captioning", "run", steps=1, **keys))
    again = sonopsis.load(train(write_run("captioning", "run", steps=2, **keys)))
    assert again.module.second.prefix.shape == again.module.tagger.encoder.prefix.shape == (1, 0, 16)
    steps = [json.loads(line)["step"] for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert sorted(set(steps)) == [1, 2]
