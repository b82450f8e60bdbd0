"""A tagger that starts from Whisper's encoder: its front end, what is trained how fast, and a whole run."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import sonopsis
from sonopsis.data.clips import ClipBank
from sonopsis.encoder import Encoder
from sonopsis.training.batches import Mixtures
from sonopsis.training.config import DataConfig, TrainConfig
from sonopsis.training.optimizer import freeze, make_optimizer
from sonopsis.training.run import train
from sonopsis.training.start import Start, open_start
from sonopsis.training.tagging import Tagging

SIZES = {"width": 16, "depth": 4, "heads": 2}
RATES = {"train": 0, "learning_rate": 3e-4, "layer_decay": 0.75}


def start_of(make_config: Callable[..., TrainConfig]) -> tuple[TrainConfig, Start]:
    config = make_config("tagging", model="whisper-tiny", encoder={**SIZES, **RATES})
    return config, open_start(config)


def test_examples_have_its_bins_and_masks_its_floor(
    clips: tuple[ClipBank, ClipBank], make_config: Callable[..., TrainConfig]
) -> None:
    _, start = start_of(make_config)
    labels = sorted({label for row in clips[0].rows for label in row.labels})
    data = DataConfig(seconds=1.0, time_masks=1, time_mask_frames=40, filter_db=3, mixstyle=0.5)
    batch = Mixtures(clips[0], labels, start.mel, data, 4, 0).batch(0)
    assert batch.mel.shape == (4, 100, 80)  # two frames for each token
    assert start.encoder.grid(100) == (50, 1)
    plain = replace(data, equaliser_db=0, filter_db=0, mixstyle=0, band_limit=0, frequency_masks=0)
    mel = Mixtures(clips[0], labels, start.mel, plain, 4, 0).batch(0).mel
    assert bool((mel.amax((1, 2)) - mel.amin((1, 2)) <= 2.001).all())  # 80 dB in Whisper's units


def test_the_stem_is_frozen_and_rates_fall_from_block_to_block(
    clips: tuple[ClipBank, ClipBank], make_config: Callable[..., TrainConfig]
) -> None:
    config, start = start_of(make_config)
    task = Tagging(config, start, *clips)
    encoder = task.module.encoder
    assert not any(parameter.requires_grad for parameter in encoder.stem.parameters())
    optimizer = make_optimizer(task.module, config)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert {rates[id(p)] for p in task.module.head.parameters()} == {config.learning_rate}
    for number, block in enumerate(encoder.blocks):
        (rate,) = {rates[id(p)] for p in block.parameters()}
        assert math.isclose(rate, 3e-4 * 0.75 ** (4 - number))
    assert {rates[id(p)] for p in encoder.norm.parameters()} == {3e-4}


def test_there_is_no_block_beyond_its_depth(make_config: Callable[..., TrainConfig]) -> None:
    config = make_config("tagging", model="whisper-tiny", encoder={**SIZES, "train": 4})
    with pytest.raises(ValueError, match="blocks 0-3, no block 4"):
        freeze(Encoder(open_start(config).encoder), config.encoder)


def test_a_run_from_whisper_ends_in_a_folder_that_tags_and_starts_another(
    write_run: Callable[..., Path], tmp_path: Path
) -> None:
    data = {"seconds": 1.0, "mixstyle": 0.5, "ratio_mixing": 0.5}
    first = train(write_run("tagging", "first", model="whisper-tiny", encoder={**SIZES, **RATES}, data=data))
    noise = np.random.default_rng(0).standard_normal(24_000) * 0.1
    model = sonopsis.load(first)
    assert model.folder.mel.kind == "whisper" and model.window == 30.0
    assert len(model.tag(noise, top_k=3)[0].labels) == 3
    second = train(write_run("tagging", "second", model=str(first), labels="inherit", encoder=RATES, data=data))
    before, after = (load_file(folder / "model.safetensors") for folder in (first, second))
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert {name for name in same if name.startswith("encoder.stem.")} == {
        name for name in before if name.startswith("encoder.stem.")
    }
    assert not any("blocks" in name and "weight" in name and "norm" not in name for name in same)
