"""Similarity merging against its definition written as loops, and what proportional attention makes exact."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sonopsis.encoder import Encoder, EncoderConfig
from sonopsis.pruning import Pruning
from sonopsis.pruning.config import merge_rounds
from sonopsis.pruning.merge import merge
from sonopsis.pruning.mix import mixed


def plain_merge(keys: Tensor, cells: list[int], size: list[float], grid: tuple[int, int], kept: int) -> list[list[int]]:
    """One clip's groups of positions, in order of the cell that represents each; keys (n, d)."""
    groups = [([n], keys[n].double(), size[n], cells[n]) for n in range(len(cells))]
    while len(groups) > kept:
        pairs = min(len(groups) - kept, len(groups) // 2)
        along = sorted(groups, key=lambda g: (g[3] % grid[1], g[3] // grid[1]))
        movers, stayers = along[1::2], along[0::2]
        edges = []
        for mover in movers:
            alike = [float(torch.cosine_similarity(mover[1], stayer[1], dim=0)) for stayer in stayers]
            edges.append((max(alike), mover, alike.index(max(alike))))
        edges.sort(key=lambda edge: -edge[0])
        gone = [edge[1][3] for edge in edges[:pairs]]
        merged = []
        for place, stayer in enumerate(stayers):
            parts = [stayer, *(mover for _, mover, target in edges[:pairs] if target == place)]
            weight = sum(part[2] for part in parts)
            key = sum((part[1] * part[2] for part in parts), torch.zeros(())) / weight
            merged.append(([n for part in parts for n in part[0]], key, weight, stayer[3]))
        groups = merged + [mover for mover in movers if mover[3] not in gone]
        groups.sort(key=lambda g: g[3])
    return [sorted(group[0]) for group in groups]


@settings(max_examples=40, deadline=None)
@given(steps=st.integers(1, 6), bands=st.integers(1, 4), seed=st.integers(0, 99), data=st.data())
def test_merging_against_loops(steps: int, bands: int, seed: int, data: st.DataObject) -> None:
    generator = torch.Generator().manual_seed(seed)
    cells = sorted(data.draw(st.sets(st.integers(0, steps * bands - 1), min_size=1)))
    kept = data.draw(st.integers(1, len(cells)))
    keys = torch.randn(2, 3, len(cells), 4, generator=generator)
    size = torch.randint(1, 5, (2, len(cells)), generator=generator).float()
    choice = merge(keys, torch.tensor([cells, cells]), size, (steps, bands), kept)
    assert choice.into is not None and choice.index.shape == (2, kept)
    for clip in range(2):
        groups = plain_merge(keys[clip].mean(dim=0), cells, size[clip].tolist(), (steps, bands), kept)
        into = choice.into[clip].tolist()
        assert [[n for n, token in enumerate(into) if token == place] for place in range(kept)] == groups
        for place, row in enumerate(choice.index[clip].tolist()):
            assert row in groups[place]


def test_both_sides_alternate_along_time() -> None:
    """Alike neighbours in time merge; alike neighbours in frequency are on the same side and do not."""
    grid = (4, 2)
    in_time = torch.eye(4)[[0, 1, 0, 1, 2, 3, 2, 3]]  # n = t * 2 + f: steps 0 and 1 alike, steps 2 and 3 alike
    index, size = torch.arange(8)[None], torch.ones(1, 8)
    choice = merge(in_time[None, None], index, size, grid, 4)
    assert choice.into is not None and choice.into.tolist() == [[0, 1, 0, 1, 2, 3, 2, 3]]
    in_frequency = torch.eye(4)[[0, 0, 1, 1, 2, 2, 3, 3]]
    choice = merge(in_frequency[None, None], index, size, grid, 7)
    assert choice.into is not None
    ((one, other),) = [g for g in ([n for n in range(8) if choice.into[0, n] == k] for k in range(7)) if len(g) > 1]
    assert abs(one // 2 - other // 2) % 2 == 1


@given(st.integers(1, 500), st.data())
def test_rounds_end_at_what_was_asked(patches: int, data: st.DataObject) -> None:
    kept = data.draw(st.integers(1, patches))
    for left, pairs in merge_rounds(patches, kept):
        assert left == patches and 0 < pairs <= left // 2
        patches -= pairs
    assert patches == kept


def test_mixed_is_a_weighted_mean_and_leaves_single_tokens_alone() -> None:
    x = torch.randn(1, 4, 3, generator=torch.Generator().manual_seed(0))
    found = mixed(x, torch.tensor([[1, 0, 1, 2]]), torch.tensor([[1.0, 7.0, 3.0, 0.3]]), 3)
    torch.testing.assert_close(found[0, 1], (x[0, 0] + 3 * x[0, 2]) / 4)
    assert torch.equal(found[0, 0], x[0, 1]) and torch.equal(found[0, 2], x[0, 3])
    half = mixed(x.bfloat16(), torch.tensor([[0, 1, 2, 3]]), torch.rand(1, 4), 4)
    assert torch.equal(half, x.bfloat16())


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_merging_equal_tokens_changes_nothing(pooling: Any) -> None:
    """Patches that are copies of each other merge without any loss, as attention is in proportion to size."""
    torch.manual_seed(0)
    config = EncoderConfig(
        "sonopsis", 16, 4, 2, frames=64, patch=(16, 32), stride=(16, 32), position="learned", pooling=pooling
    )
    encoder = Encoder(config).eval()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
        patches = encoder.positions[:, 1:].unflatten(1, (2, 2, 4))
        patches[:, :, 1] = patches[:, :, 0]  # steps 0 and 1 share their positions, and 2 and 3
    mel = torch.randn(2, 2, 1, 16, 128).expand(-1, -1, 2, -1, -1).reshape(2, 64, 128)
    with torch.inference_mode():
        plain = encoder(mel)
        pruning = Pruning({0: 0.5}, reduce="merge")
        merged = encoder(mel, pruning)
        assert merged.size.tolist() == [[2.0] * 8] * 2
        assert merged.source is not None
        assert merged.source[0].tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 6, 7, 4, 5, 6, 7]
        restored = merged.tokens.gather(1, merged.source[:, :, None].expand(-1, -1, 16))
        torch.testing.assert_close(restored, plain.tokens, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(encoder.pool(merged), encoder.pool(plain), atol=1e-5, rtol=1e-5)
        pooled = encoder.pool(encoder(mel, pruning, pooled_only=True))
        torch.testing.assert_close(pooled, encoder.pool(plain), atol=1e-5, rtol=1e-5)


def test_a_bias_of_log_size_counts_a_key_as_often() -> None:
    from sonopsis.pruning.scores import attention_weights

    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(1, 2, 5, 4, generator=generator), torch.randn(1, 2, 3, 4, generator=generator)
    thrice = attention_weights(q, torch.cat([k, k[:, :, 2:], k[:, :, 2:]], dim=2))
    once = attention_weights(q, k, torch.tensor([0.0, 0.0, math.log(3)])[None, None, None])
    torch.testing.assert_close(once[..., 2], thrice[..., 2:].sum(-1))
    torch.testing.assert_close(once[..., :2], thrice[..., :2])
