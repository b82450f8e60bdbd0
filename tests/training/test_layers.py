"""A run that begins to read all blocks: it tags as its model did, and what it reads anew is on one scale."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import sonopsis
from sonopsis.data.clips import ClipBank
from sonopsis.training.config import TrainConfig
from sonopsis.training.run import train
from sonopsis.training.start import open_start
from sonopsis.training.tagging import Tagging

SIZES = {"width": 16, "depth": 4, "heads": 2, "pooling": "attention", "window": 5.0}


def test_a_run_that_begins_to_read_all_blocks_tags_as_its_model_did(
    write_run: Callable[..., Path],
    make_config: Callable[..., TrainConfig],
    clips: tuple[ClipBank, ClipBank],
    tmp_path: Path,
) -> None:
    folder = train(write_run("tagging", model="whisper-tiny", encoder=SIZES, data={"seconds": 1.0}))
    config = make_config(
        "tagging", output="next", model=str(folder), encoder={"pooling": "layers"}, data={"seconds": 1.0}
    )
    task = Tagging(config, open_start(config), *clips)
    module = task.module.eval()
    mel = next(task.batches(0, 1)).mel
    with torch.inference_mode():
        found, encoded = module(mel), module.encoder(mel)
    assert encoded.layers is not None and encoded.layers.shape == (2, 2 * 4 * 16)
    assert encoded.layers.abs().max() < 20  # far from a scale of its own
    wanted = sonopsis.load(folder, engine="torch", keep_rate=1.0).logits(mel)
    np.testing.assert_allclose(found[:, : wanted.shape[1]].numpy(), wanted, atol=1e-4)
    assert module.head is not None and module.head.linear.weight[:, 16:].abs().max() == 0
    # The next run carries the scale on.
    saved = tmp_path / "saved"
    task.export(module, saved)
    after = make_config("tagging", output="after", model=str(saved), data={"seconds": 1.0})
    again = Tagging(after, open_start(after), *clips).module.encoder.statistics
    assert again is not None and module.encoder.statistics is not None
    torch.testing.assert_close(again.centre, module.encoder.statistics.centre, atol=0, rtol=2e-3)  # stored in float16
