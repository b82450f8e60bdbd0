"""What a trace shows of a clip's survivors."""

from typing import Any

import numpy as np
import pytest
import torch

from sonopsis.encoder import Encoder, EncoderConfig, Trace
from sonopsis.pruning import Pruning

CONFIG = EncoderConfig("sonopsis", 16, 3, 2, frames=96, patch=(16, 32), stride=(16, 32))


def encoded(keep: dict[int, float], reduce: Any = "topk") -> Any:
    torch.manual_seed(0)
    return Encoder(CONFIG).eval()(torch.randn(2, 96, 128), Pruning(keep, reduce=reduce))


@pytest.mark.parametrize("reduce", ["topk", "fuse", "merge", "mass"])
def test_stages_are_the_survivors_on_the_grid(reduce: Any) -> None:
    found = encoded({0: 0.7, 2: 0.5}, reduce)
    for source in (found, found.numpy()):
        trace = Trace.of(source, clip=1)
        assert trace.grid == (6, 4) and [stage.shape for stage in trace.stages] == [(6, 4)] * 2
        last = sorted(4 * t + f for t, f in np.argwhere(trace.stages[-1]))
        assert last == [cell for cell in found.index[1].tolist() if cell >= 0]
        assert trace.counts == [sum(cell >= 0 for cell in stage[1].tolist()) for stage in found.stages]
        assert (trace.stages[0] | ~trace.stages[1]).all()  # nothing comes back


def test_drawn_darkens_what_was_pruned() -> None:
    trace = Trace.of(encoded({1: 0.5}))
    mel = np.random.default_rng(0).standard_normal((96, 128))
    image = trace.drawn(mel)
    assert image.shape == (128, 96, 3) and image.dtype == np.uint8
    upright = image[::-1].transpose(1, 0, 2).astype(int)  # (T, M, 3)
    held = np.kron(trace.stages[0], np.ones((16, 32), dtype=bool))
    assert (upright[held].max(axis=1) == upright[held].min(axis=1)).all()  # grey
    assert (upright[~held][:, 2] > upright[~held][:, 0] + 40).all()  # blue
    assert upright[held].max() == 255 or upright[~held].max() < 128
    grey = (mel - mel.min()) / (mel.max() - mel.min())
    assert np.abs(upright[held][:, 0] - 255 * grey[held]).max() <= 0.51


def test_text_has_a_character_for_each_patch_high_frequencies_on_top() -> None:
    trace = Trace((3, 2), [np.array([[True, False], [True, True], [False, True]])])
    assert trace.text() == " ##\n## "
    mel = np.zeros((48, 64))
    mel[16:32, :32] = 5
    assert trace.text(mel) == " ..\n.@ "


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(ValueError, match="keep rate below 1"):
        Trace.of(encoded({})).text()
    with pytest.raises(ValueError, match="does not fit the grid"):
        Trace.of(encoded({1: 0.5})).drawn(np.zeros((4, 128)))
