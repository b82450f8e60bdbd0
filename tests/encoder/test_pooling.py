"""The mean with learned weights: equal to the plain mean at first, and to a plain sum over weights afterwards."""

from dataclasses import replace

import torch
from torch import nn

from sonopsis.encoder import PRESETS, Encoder
from sonopsis.encoder.pooling import AttentionPooling
from sonopsis.pruning import Pruning, uniform

CONFIG = replace(PRESETS["whisper-tiny"], width=32, depth=3, heads=4, frames=80, pooling="attention", token_norm=False)


def tokens() -> torch.Tensor:
    return torch.randn(2, 7, 32, generator=torch.Generator().manual_seed(0))


def test_it_begins_as_the_plain_mean() -> None:
    size = torch.tensor([[1.0] * 7, [1.0, 3.0, 1.0, 1.0, 0.0, 0.0, 0.0]])  # the second clip has padding
    found = AttentionPooling(32, 4)(tokens(), size)
    wanted = (tokens() * size.unsqueeze(-1)).sum(1) / size.sum(1, keepdim=True)
    torch.testing.assert_close(found[:, 0], wanted)


@torch.inference_mode()
def test_every_head_weighs_its_part_of_the_width() -> None:
    pooling = AttentionPooling(32, 4)
    nn.init.normal_(pooling.score.weight, generator=torch.Generator().manual_seed(1))
    found = pooling(tokens(), torch.ones(2, 7))
    for clip in range(2):
        for head in range(4):
            scores = [pooling.score(token)[head].item() for token in tokens()[clip]]
            weights = torch.tensor(scores).exp() / torch.tensor(scores).exp().sum()
            wanted = sum(w * token[8 * head : 8 * head + 8] for w, token in zip(weights, tokens()[clip], strict=True))
            torch.testing.assert_close(found[clip, 0, 8 * head : 8 * head + 8], wanted)


def test_an_encoder_gives_the_same_summary_with_and_without_its_tokens() -> None:
    torch.manual_seed(0)
    encoder = Encoder(CONFIG).eval()
    nn.init.normal_(encoder.pooling.score.weight)
    mel = torch.randn(2, 60, 80)
    for pruning in (None, uniform(3, 0.5), Pruning({1: 0.5}, reduce="merge"), Pruning({1: 0.5}, reduce="mass")):
        with torch.inference_mode():
            whole = encoder(mel, pruning)
            alone = encoder(mel, pruning, pooled_only=True)
        torch.testing.assert_close(encoder.pool(whole), encoder.pool(alone))
        torch.testing.assert_close(torch.from_numpy(whole.numpy().prefix[:, 0]), encoder.pool(whole))
