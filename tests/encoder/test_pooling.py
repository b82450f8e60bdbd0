"""The mean with learned weights: equal to the plain mean at first, and to a plain sum over weights afterwards."""

from dataclasses import replace

import torch
from torch import nn

from sonopsis.encoder import PRESETS, Encoder
from sonopsis.encoder.pooling import AttentionPooling, LayerStatistics, mean_and_maximum
from sonopsis.encoder.tagger import Tagger
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


def test_mean_and_maximum_leave_padding_out() -> None:
    size = torch.tensor([[1.0] * 7, [1.0, 3.0, 1.0, 1.0, 0.0, 0.0, 0.0]])
    found = mean_and_maximum(tokens() - 10, size)  # all numbers are below zero, as zeros of padding are not
    for clip in range(2):
        patches = [t for t, times in zip(tokens()[clip] - 10, size[clip], strict=True) for _ in range(int(times))]
        wanted = torch.cat([torch.stack(patches).mean(0), torch.stack(patches).amax(0)])
        torch.testing.assert_close(found[clip], wanted)


def test_statistics_are_brought_to_one_scale() -> None:
    statistics = LayerStatistics(3, 4)
    seen = torch.randn(500, 24, generator=torch.Generator().manual_seed(0)) * torch.logspace(-3, 3, 24) + 5
    statistics.fit(seen)
    found = statistics([seen[:, :8], seen[:, 8:16], seen[:, 16:]])
    torch.testing.assert_close(found.mean(0), torch.zeros(24), atol=2e-3, rtol=0)
    torch.testing.assert_close(found.std(0), torch.full((24,), 1 / 6))


@torch.inference_mode()
def test_a_head_reads_all_blocks() -> None:
    torch.manual_seed(0)
    tagger = Tagger(replace(CONFIG, pooling="layers"), 5).eval()
    mel = torch.randn(2, 60, 80)
    outputs: list[torch.Tensor] = []
    for block in tagger.encoder.blocks:
        block.register_forward_hook(lambda module, given, output: outputs.append(output))
    encoded = tagger.encoder(mel)
    read = torch.cat([part for x in outputs for part in (x.mean(1), x.amax(1))], dim=1)
    pooled = torch.cat([encoded.prefix[:, 0], read], dim=1)
    torch.testing.assert_close(tagger.encoder.pool(encoded), pooled)
    assert pooled.shape[1] == tagger.encoder.config.pooled_width == tagger.head.linear.in_features
    normed = torch.cat([tagger.head.norm(pooled[:, :32]), read], dim=1)
    torch.testing.assert_close(tagger(mel), normed @ tagger.head.linear.weight.T + tagger.head.linear.bias)


def test_a_head_reads_the_survivors_of_each_block() -> None:
    torch.manual_seed(0)
    encoder = Encoder(replace(CONFIG, pooling="layers")).eval()
    mel = torch.randn(2, 60, 80)
    for pruning in (uniform(3, 0.5), Pruning({1: 0.5}, reduce="merge"), Pruning({1: 0.5}, reduce="mass")):
        with torch.inference_mode():
            whole, alone = encoder(mel, pruning), encoder(mel, pruning, pooled_only=True)
            each = [encoder.pool(encoder(mel[clip : clip + 1], pruning)) for clip in range(2)]
        torch.testing.assert_close(encoder.pool(whole), encoder.pool(alone))
        torch.testing.assert_close(encoder.pool(whole), torch.cat(each))
