"""Each score and each reducer against its definition."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sonopsis.encoder import Encoder, EncoderConfig
from sonopsis.pruning import Candidates, Pruning
from sonopsis.pruning.mix import fuse, mixed
from sonopsis.pruning.scores import patch_values
from sonopsis.pruning.select import STEPS_OF_SEGMENT, by_mass, shares

STEPS, BANDS = 20, 4  # of the encoders that make_encoder builds
PATCHES = STEPS * BANDS
Make = Callable[..., Encoder]
Mels = Callable[..., Tensor]


def keep_only(wanted: list[int]) -> Any:
    """A score that ranks the given grid cells first."""

    def score(candidates: Candidates) -> Tensor:
        rank = torch.zeros(candidates.grid[0] * candidates.grid[1])
        rank[wanted] = torch.arange(len(wanted), 0, -1.0)
        return rank[candidates.index.clamp(min=0)]

    return score


def test_a_function_decides(make_encoder: Make, mels: Mels) -> None:
    wanted = [3, 17, 50, 51, 79]
    encoded = make_encoder()(mels(), Pruning({1: 5 / PATCHES}, keep_only(wanted)))
    assert encoded.index.tolist() == [wanted] * 3


def test_a_function_of_another_shape_or_without_values_is_refused(make_encoder: Make, mels: Mels) -> None:
    with pytest.raises(ValueError, match=r"must return a tensor \(3, 80\)"):
        make_encoder()(mels(), Pruning({1: 0.5}, lambda candidates: candidates.index[:, 1:].float()))
    with pytest.raises(ValueError, match="not finite"):
        make_encoder()(mels(), Pruning({1: 0.5}, lambda candidates: candidates.index / 0.0))


def test_mean_and_std_rank_the_patches_as_the_input_does(make_encoder: Make, mels: Mels) -> None:
    mel = mels()
    patches = mel.reshape(3, STEPS, 16, BANDS, 32).transpose(2, 3).reshape(3, PATCHES, -1)
    for score, values in (("mean", patches.mean(dim=2)), ("std", patches.std(dim=2))):
        encoded = make_encoder()(mel, Pruning({0: 0.5, 2: 0.5}, score))  # type: ignore[arg-type]
        for clip in range(3):
            assert encoded.index[clip].tolist() == sorted(values[clip].topk(20).indices.tolist())


def test_statistics_of_overlapping_patches(mels: Mels) -> None:
    mel = mels(1)[:, :100]
    values = patch_values(mel, (16, 32), (12, 16))
    steps, bands = EncoderConfig("sonopsis", 16, 1, 2, frames=100, patch=(16, 32), stride=(12, 16)).grid(100)
    assert values.shape == (1, steps * bands, 16 * 32)
    for t in range(steps):
        for f in range(bands):
            patch = mel[0, 12 * t : 12 * t + 16, 16 * f : 16 * f + 32]
            assert torch.equal(values[0, t * bands + f], patch.flatten())


def test_random_is_the_same_for_every_clip_and_changes_with_the_seed(make_encoder: Make, mels: Mels) -> None:
    encoder = make_encoder()
    first, second = (encoder(mels(), Pruning({0: 0.5}, "random", seed=seed)).index for seed in (0, 1))
    assert (first == first[0]).all()
    assert not torch.equal(first, second)
    assert torch.equal(first[:1], encoder(mels(1), Pruning({0: 0.5}, "random")).index)


def test_the_fused_token_is_the_mean_of_what_was_dropped(make_encoder: Make, mels: Mels) -> None:
    """Two stages by hand: the second remainder takes in the first."""
    encoder, mel = make_encoder(depth=2, norm="pre"), mels(1)
    pruning = Pruning({0: 0.5}, "cls", "fuse")
    with torch.inference_mode():
        seen = {}
        block = encoder.blocks[0]
        handle = block.norm2.register_forward_pre_hook(lambda _, inputs: seen.setdefault("fused", inputs[0]))
        encoder(mel, pruning)
        handle.remove()
        x, _ = encoder.embed(mel)
        x = x + block.attn(block.norm1(x))
        y = block.norm1(encoder.embed(mel)[0])
        q, (k, _) = block.attn.queries(y[:, :1]), block.attn.keys_values(y)
        row = (q @ k.transpose(-1, -2) * 8**-0.5).softmax(-1)[0, :, 0, 2:].mean(0)  # (N,)
        order = row.argsort(descending=True)
        gone = order[40:]
        wanted = (x[0, 2 + gone] * row[gone, None]).sum(0) / row[gone].sum()
        assert torch.allclose(seen["fused"][0, -1], wanted, atol=1e-5)
        assert torch.allclose(seen["fused"][0, 2:-1], x[0, 2 + order[:40].sort().values], atol=1e-5)


def test_a_remainder_goes_into_the_next_one() -> None:
    score = torch.tensor([[0.4, 0.1, 0.3, 0.2]])  # the last is an earlier remainder
    x = torch.arange(8.0).reshape(1, 4, 2)
    choice = fuse(score, 1, fused=True)
    assert choice.index.tolist() == [[0]] and choice.tokens == 2
    assert choice.into is not None and choice.into.tolist() == [[0, 1, 1, 1]]
    assert choice.weight is not None
    found = mixed(x, choice.into, choice.weight, 2)
    torch.testing.assert_close(found[0, 1], (0.1 * x[0, 1] + 0.3 * x[0, 2] + 0.2 * x[0, 3]) / 0.6)


def test_segments_keep_their_share(make_encoder: Make, mels: Mels) -> None:
    first = list(range(40))  # the first half of the recording is all that scores
    encoded = make_encoder()(mels(), Pruning({0: 0.5}, keep_only(first), "segment"))
    for clip in encoded.index.tolist():
        steps = [cell // BANDS // STEPS_OF_SEGMENT for cell in clip]
        assert [steps.count(n) for n in range(3)] == [16, 16, 8]  # 8, 8 and 4 steps of 4 patches, halved
    assert encoded.index[0, :16].tolist() == list(range(16))


@given(st.lists(st.integers(0, 50), min_size=1, max_size=9).filter(any), st.data())
def test_shares_are_proportional_and_complete(present: list[int], data: st.DataObject) -> None:
    kept = data.draw(st.integers(1, sum(present)))
    found = shares(present, kept)
    assert sum(found) == kept
    for size, share in zip(present, found, strict=True):
        assert share <= size and abs(share - kept * size / sum(present)) < 1


@pytest.mark.parametrize(("reduce", "whole", "groups"), [("columns", BANDS, STEPS), ("bands", STEPS, BANDS)])
def test_whole_columns_and_bands_survive(reduce: Any, whole: int, groups: int, make_encoder: Make, mels: Mels) -> None:
    for score in ("random", "cls"):
        encoded = make_encoder()(mels(), Pruning({0: 0.75, 2: 0.5}, score, reduce))  # type: ignore[arg-type]
        for stage, left in zip(encoded.stages, (groups * 3 // 4, -(-groups * 3 // 8)), strict=True):
            for clip in stage.tolist():
                group = [cell // BANDS if reduce == "columns" else cell % BANDS for cell in clip]
                assert len(set(group)) == left and all(group.count(n) == whole for n in set(group))


def test_the_best_column_and_band_survive(make_encoder: Make, mels: Mels) -> None:
    column = [4 * 7 + f for f in range(4)]
    band = [4 * t + 2 for t in range(STEPS)]
    encoder = make_encoder()
    assert encoder(mels(), Pruning({0: 0.05}, keep_only(column), "columns")).index[0].tolist() == column
    assert encoder(mels(), Pruning({0: 0.25}, keep_only(band), "bands")).index[0].tolist() == band


@settings(max_examples=60, deadline=None)
@given(
    scores=st.lists(st.floats(-2, 5, width=16), min_size=1, max_size=30),
    mass=st.floats(0.05, 0.99),
    padding=st.integers(0, 4),
)
def test_mass_is_held_by_the_fewest(scores: list[float], mass: float, padding: int) -> None:
    rows = torch.tensor([scores + [9.0] * padding])
    mask = torch.tensor([[True] * len(scores) + [False] * padding])
    index, survives = by_mass(rows, mass, mask)
    assert survives.all()
    kept = index[0].tolist()
    assert kept == sorted(set(kept)) and max(kept) < len(scores)
    lowest = min(0.0, *scores)
    weights = sorted((score - lowest for score in scores), reverse=True)
    total = sum(weights)
    if total == 0:
        assert len(kept) == pytest.approx(mass * len(scores), abs=1)
        return
    held = sum(scores[n] - lowest for n in kept)
    assert held >= (mass - 1e-6) * total
    assert held - min(scores[n] - lowest for n in kept) < (mass + 1e-6) * total
    assert held == pytest.approx(sum(weights[: len(kept)]))
