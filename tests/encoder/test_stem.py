"""The convolutional stem ends on the patch grid, stays local, and does not mix clips."""

import pytest
import torch

from sonopsis.encoder import PRESETS, EncoderConfig
from sonopsis.encoder.layers import conv_layers
from sonopsis.encoder.stem import Stem


def conv_stem(patch: tuple[int, int], frames: int = 128) -> Stem:
    torch.manual_seed(0)
    config = EncoderConfig("sonopsis", 16, 1, 1, patch=patch, stride=patch, stem="conv", frames=frames)
    stem = Stem(config)
    for module in stem.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2)
    return stem.eval()


@pytest.mark.parametrize("patch", [(16, 32), (16, 16), (32, 8), (2, 4)])
def test_tokens_lie_on_the_patch_grid_in_time_major_order(patch: tuple[int, int]) -> None:
    stem = conv_stem(patch)
    time, frequency = 128 // patch[0], 128 // patch[1]
    for parameter in stem.parameters():  # equal weights: a token hears every path to it alike
        parameter.data.fill_(1.0)
    mel = torch.ones(1, 128, 128).requires_grad_()
    tokens = stem(mel)
    assert tokens.shape == (1, time * frequency, 16)
    t, f = time // 2, frequency // 2
    tokens[0, t * frequency + f].sum().backward()
    assert mel.grad is not None
    heard = mel.grad[0].abs()
    for axis, cell, size in ((0, t, patch[0]), (1, f, patch[1])):
        weight = heard.sum(dim=1 - axis)
        centre = float((weight * torch.arange(128)).sum() / weight.sum())
        assert abs(centre - (cell * size + (size - 1) / 2)) <= 0.6  # the middle of its cell, to half a frame


def test_a_token_hears_its_neighbourhood_alone() -> None:
    stem = conv_stem((16, 32))
    long = torch.randn(3, 128, 128)
    with torch.inference_mode():
        tokens = stem(long)
        assert torch.allclose(stem(long[:1])[0], tokens[0], atol=1e-6)  # whatever else is in the batch
        short = stem(long[:, :64])
        assert torch.allclose(short[:, : 2 * 4], tokens[:, : 2 * 4], atol=1e-6)  # and however long the clip


def test_the_small_preset_grows_channels_as_it_shrinks_the_picture() -> None:
    layers = conv_layers(PRESETS["small"])
    assert [(layer.inputs, layer.outputs, layer.stride) for layer in layers] == [
        (1, 16, (2, 2)),
        (16, 32, (2, 2)),
        (32, 64, (2, 2)),
        (64, 128, (2, 2)),
        (128, 128, (1, 2)),
    ]
