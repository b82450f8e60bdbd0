"""What a run starts from, heard differently: a shorter window of learned positions, another front end."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sonopsis.checkpoints import crop_positions
from sonopsis.encoder import PRESETS
from sonopsis.encoder.tagger import Tagger
from sonopsis.folder import ModelConfig
from sonopsis.mel import MelConfig
from sonopsis.modules import save
from sonopsis.training.building import build_tagger
from sonopsis.training.config import TrainConfig
from sonopsis.training.start import open_start

SIZES = {"width": 16, "depth": 2, "heads": 2}


@pytest.mark.parametrize("family", ["ast", "audiomae"])
def test_a_shorter_window_cuts_learned_positions(
    family: str, make_config: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    encoder = replace(PRESETS[family], **SIZES, frames=128)
    save(Tagger(encoder, 2), tmp_path / "model", ModelConfig(["Dog", "Cat"], encoder), MelConfig(128))
    whole = open_start(make_config("tagging", model=str(tmp_path / "model")))
    short = open_start(make_config("tagging", model=str(tmp_path / "model"), encoder={"window": 0.64}))
    assert whole.tagger is not None and (short.encoder.frames, short.mel.frames) == (64, 64)
    wanted = crop_positions(whole.tagger.encoder.positions.detach(), whole.encoder, 64)
    built = build_tagger(short, ["Dog", "Cat"])
    assert torch.equal(built.encoder.positions, wanted)
    assert built(torch.zeros(1, 64, 128)).shape == (1, 2)
    with pytest.raises(ValueError, match=r"encoder\.window: .* up to 128"):
        open_start(make_config("tagging", model=str(tmp_path / "model"), encoder={"window": 2.56}))


def test_an_encoder_that_was_read_by_its_mean_may_be_read_block_by_block(
    make_config: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    """Such an encoder, as that of AudioMAE, has no norm at its end; a fresh one comes with the new way to read it."""
    encoder = replace(PRESETS["audiomae"], **SIZES, frames=128, pooling="mean")
    save(Tagger(encoder, 2), tmp_path / "model", ModelConfig(["Dog", "Cat"], encoder), MelConfig(128))
    start = open_start(make_config("tagging", model=str(tmp_path / "model"), encoder={"pooling": "layers"}))
    built = build_tagger(start, ["Dog", "Cat"])
    assert built.encoder.norm.weight.tolist() == [1.0] * encoder.width
    assert built(torch.zeros(1, 128, 128)).isfinite().all()


def test_a_preset_with_learned_positions_is_drawn_for_its_window(make_config: Callable[..., TrainConfig]) -> None:
    start = open_start(make_config("tagging", model="ast", encoder={**SIZES, "window": 20.48}))
    assert build_tagger(start, ["Dog"]).encoder.positions.shape == (1, 2 + 128 * 8, 16)


def test_a_front_end_is_set_anew_where_it_is_given(make_config: Callable[..., TrainConfig]) -> None:
    found = open_start(make_config("tagging", model="eat", encoder=SIZES, front_end={"mean": -6.6, "std": 5.4})).mel
    assert (found.mean, found.std, found.padding) == (-6.6, 5.4, "zero")
    with pytest.raises(ValueError, match="front_end: frames and std must be positive"):
        open_start(make_config("tagging", model="eat", encoder=SIZES, front_end={"std": 0}))
