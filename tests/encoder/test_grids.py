"""States of all patches after earlier blocks, against what enters the next block."""

from typing import Any

import pytest
import torch
from torch import Tensor

from sonopsis.encoder import Encoder, EncoderConfig
from sonopsis.pruning import REDUCERS, Pruning
from sonopsis.pruning.survivors import Survivors

CONFIG = EncoderConfig(family="sonopsis", width=16, depth=4, heads=2, frames=160, patch=(16, 32), stride=(16, 32))


def make() -> tuple[Encoder, Tensor]:
    torch.manual_seed(0)
    return Encoder(CONFIG).eval(), torch.randn(3, 160, 128)


def test_without_pruning_they_are_what_enters_the_next_block() -> None:
    encoder, mel = make()
    seen: list[Tensor] = []

    def watch(number: int, x: Tensor, left: Survivors, bias: Tensor | None) -> None:
        seen.append(x[:, CONFIG.prefix_tokens :])

    with torch.inference_mode():
        encoded = encoder(mel, collect_blocks=(0, 2), watch=watch)
        plain = encoder(mel)
    assert encoded.blocks is not None and plain.blocks is None
    assert torch.equal(encoded.blocks[0], seen[1]) and torch.equal(encoded.blocks[1], seen[3])
    assert torch.equal(encoded.tokens, plain.tokens)
    assert encoded.numpy().blocks[0].shape == (3, 40, 16)


@pytest.mark.parametrize("reduce", REDUCERS)
def test_a_dropped_patch_stays_as_it_was_and_a_merged_one_is_where_it_went(reduce: Any) -> None:
    encoder, mel = make()
    pruning = Pruning({1: 0.6, 2: 0.6}, "attention", reduce)
    entering: list[tuple[Tensor, Survivors]] = []

    def watch(number: int, x: Tensor, left: Survivors, bias: Tensor | None) -> None:
        entering.append((x[:, CONFIG.prefix_tokens :], left))

    with torch.inference_mode():
        encoded = encoder(mel, pruning, collect_blocks=(0, 1, 2), watch=watch)
    assert encoded.blocks is not None
    for block, (x, left) in ((0, entering[1]), (1, entering[2]), (2, entering[3])):
        source, grid = left.sources(), encoded.blocks[block]
        for row in range(3):
            for cell in range(40):
                place = int(source[row, cell])
                if 0 <= place < left.patches:
                    assert torch.equal(grid[row, cell], x[row, place]), (block, cell)
                else:  # dropped in this block, after attention, or in one before
                    before = entering[block][1].sources()[row, cell]
                    assert not torch.equal(grid[row, cell], torch.zeros(16))
                    if not 0 <= int(before) < entering[block][1].patches:
                        assert torch.equal(grid[row, cell], encoded.blocks[block - 1][row, cell])
    dropped = entering[3][1].sources()
    lost = (dropped < 0) | (dropped >= entering[3][1].patches)
    assert bool(lost.any()) == (reduce != "merge")


def test_they_are_not_there_when_only_the_pooled_output_is_computed() -> None:
    encoder, mel = make()
    with pytest.raises(ValueError, match="not both"):
        encoder(mel, collect_blocks=(0,), pooled_only=True)
