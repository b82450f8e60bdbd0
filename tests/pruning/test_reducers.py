"""What must hold for every reducer with every score, and each reducer against its definition."""

from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sonopsis.connector import LAYOUTS, Connector, ConnectorConfig, fill_grid
from sonopsis.encoder import Encoded, Encoder, EncoderConfig
from sonopsis.pruning import REDUCERS, SCORES, Candidates, Pruning
from sonopsis.pruning.select import SEGMENT

STEPS, BANDS = 20, 4
PATCHES = STEPS * BANDS
PART = {"pooled_only": True}
KEEP = {0: 0.7, 1: 0.8, 3: 0.6}


def build(**changes: Any) -> Encoder:
    fields: dict[str, Any] = {"family": "sonopsis", "width": 16, "depth": 5, "heads": 2, "frames": 16 * STEPS}
    fields |= {"patch": (16, 32), "stride": (16, 32), "prefix_tokens": 2}
    torch.manual_seed(0)
    encoder = Encoder(EncoderConfig(**{**fields, **changes}))
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return encoder.eval()


@cache
def make_encoder(**changes: Any) -> Encoder:
    """Shared between tests, which must not change it."""
    with torch.inference_mode(False):
        return build(**changes)


def mels(batch: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    loud = torch.linspace(0.2, 2.0, batch)[:, None, None]  # clips that differ in more than noise
    return loud * torch.randn(batch, 16 * STEPS, 128, generator=generator).cumsum(dim=1) / 10


def loudness(candidates: Candidates) -> Tensor:
    return candidates.tokens.norm(dim=-1) - 3  # some below 0


ALL_SCORES = [*SCORES, loudness]
names = [*SCORES, "function"]


@pytest.mark.parametrize("reduce", REDUCERS)
@pytest.mark.parametrize("score", ALL_SCORES, ids=names)
def test_keep_1_is_the_identity_bit_for_bit(reduce: Any, score: Any) -> None:
    for pooling, arguments in (("cls", {"collect_dropped": True}), ("cls", PART), ("mean", PART)):
        encoder, mel = make_encoder(pooling=pooling), mels(2)
        with torch.inference_mode():
            plain = encoder(mel, **arguments)
            kept = encoder(mel, Pruning({0: 1.0, 2: 1.0}, score, reduce), **arguments)
        for field in ("tokens", "index", "mask", "size", "prefix"):
            assert torch.equal(getattr(plain, field), getattr(kept, field)), field
        assert not kept.fused


@pytest.mark.parametrize("reduce", REDUCERS)
@pytest.mark.parametrize("score", ALL_SCORES, ids=names)
def test_bookkeeping(reduce: Any, score: Any) -> None:
    pruning = Pruning(KEEP, score, reduce)
    with torch.inference_mode():
        encoded = make_encoder()(mels(), pruning, collect_dropped=True)
    on_grid = encoded.index.shape[1] - encoded.fused
    assert encoded.prefix.shape == (3, 2, 16)
    assert encoded.fused == (reduce == "fuse")
    left = PATCHES
    for block, stage in zip(KEEP, encoded.stages, strict=True):
        most = pruning.count(block, left, (STEPS, BANDS))
        assert stage.shape[1] <= most if reduce == "mass" else stage.shape[1] == most
        left = stage.shape[1]
    assert encoded.tokens.shape == (3, encoded.index.shape[1], 16)
    assert encoded.source is not None and encoded.dropped is not None
    for clip in range(3):
        cells = encoded.index[clip][encoded.mask[clip]].tolist()
        own = cells[:-1] if encoded.fused else cells
        assert own == sorted(set(own)) and all(0 <= cell < PATCHES for cell in own)
        assert encoded.index[clip][len(own) :].tolist() == [-1] * (encoded.index.shape[1] - len(own))
        assert not encoded.mask[clip, len(cells) :].any()
        assert not encoded.tokens[clip, len(cells) :].any()
        source = encoded.source[clip].tolist()
        for token, cell in enumerate(own):
            assert source[cell] == token
        held = [source.count(token) for token in range(len(cells))]
        assert encoded.size[clip, : len(cells)].tolist() == held
        if reduce in ("fuse", "merge"):
            assert sum(held) == PATCHES
        else:
            assert held == [1] * len(own)
        states = encoded.dropped[clip].abs().amax(dim=1) > 0
        assert states.tolist() == [not 0 <= token < on_grid for token in source]


@pytest.mark.parametrize(
    ("score", "pooling"), [("cls", "cls"), ("attention", "mean"), ("value", "mean"), ("std", "cls")]
)
@pytest.mark.parametrize("reduce", REDUCERS)
def test_a_mixed_batch_equals_its_clips_one_by_one(reduce: Any, score: Any, pooling: str) -> None:
    encoder, mel, pruning = make_encoder(pooling=pooling), mels(4), Pruning(KEEP, score, reduce)
    if reduce == "mass":
        pruning = Pruning({0: 0.9, 1: 0.97, 3: 0.8}, score, reduce)
    with torch.inference_mode():
        together = encoder(mel, pruning, collect_dropped=True)
        pooled = encoder.pool(encoder(mel, pruning, pooled_only=True))
        assert torch.allclose(pooled, encoder.pool(together), atol=1e-5)
        lengths = set()
        for row in range(4):
            alone = encoder(mel[row : row + 1], pruning, collect_dropped=True)
            kept = alone.index.shape[1]
            lengths.add(kept)
            assert torch.equal(together.index[row, :kept], alone.index[0])
            assert not together.mask[row, kept:].any() and alone.mask.all()
            for field in ("tokens", "size", "prefix", "dropped", "source"):
                ours, theirs = getattr(together, field)[row], getattr(alone, field)[0]
                assert torch.allclose(ours[: len(theirs)], theirs, atol=1e-5), field
            assert torch.allclose(pooled[row], encoder.pool(alone)[0], atol=1e-5)
    assert len(lengths) > 1 if reduce == "mass" and score != "attention" else True


@pytest.mark.parametrize("reduce", ["topk", "fuse", "merge", "segment", "columns", "bands", "mass"])
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_every_reducer_trains(reduce: Any, norm: str) -> None:
    encoder = build(pooling="mean", norm=norm, drop_path=0.1).train()
    with torch.autocast("cpu", torch.bfloat16):
        encoded = encoder(mels(), Pruning(KEEP, "attention", reduce), collect_dropped=True)
        loss = encoder.pool(encoded).float().square().sum() + encoded.prefix.float().sum()
    loss.backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in encoder.parameters())


def keep_only(wanted: list[int]) -> Any:
    """A score that ranks the given grid cells first."""

    def score(candidates: Candidates) -> Tensor:
        rank = torch.zeros(candidates.grid[0] * candidates.grid[1])
        rank[wanted] = torch.arange(len(wanted), 0, -1.0)
        return rank[candidates.index.clamp(min=0)]

    return score


def test_a_function_decides() -> None:
    wanted = [3, 17, 50, 51, 79]
    encoded = make_encoder()(mels(), Pruning({1: 5 / PATCHES}, keep_only(wanted)))
    assert encoded.index.tolist() == [wanted] * 3


def test_a_function_of_another_shape_or_without_values_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must return a tensor \(3, 80\)"):
        make_encoder()(mels(), Pruning({1: 0.5}, lambda candidates: candidates.index[:, 1:].float()))
    with pytest.raises(ValueError, match="not finite"):
        make_encoder()(mels(), Pruning({1: 0.5}, lambda candidates: candidates.index / 0.0))


def test_mean_and_std_rank_the_patches_as_the_input_does() -> None:
    mel = mels()
    patches = mel.reshape(3, STEPS, 16, BANDS, 32).transpose(2, 3).reshape(3, PATCHES, -1)
    for score, values in (("mean", patches.mean(dim=2)), ("std", patches.std(dim=2))):
        encoded = make_encoder()(mel, Pruning({0: 0.5, 2: 0.5}, score))  # type: ignore[arg-type]
        for clip in range(3):
            assert encoded.index[clip].tolist() == sorted(values[clip].topk(20).indices.tolist())


def test_random_is_the_same_for_every_clip_and_changes_with_the_seed() -> None:
    encoder = make_encoder()
    first, second = (encoder(mels(), Pruning({0: 0.5}, "random", seed=seed)).index for seed in (0, 1))
    assert (first == first[0]).all()
    assert not torch.equal(first, second)
    assert torch.equal(first[:1], encoder(mels(1), Pruning({0: 0.5}, "random")).index)


def test_the_fused_token_is_the_mean_of_what_was_dropped() -> None:
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
    from sonopsis.pruning.mix import fuse, mixed

    score = torch.tensor([[0.4, 0.1, 0.3, 0.2]])  # the last is an earlier remainder
    x = torch.arange(8.0).reshape(1, 4, 2)
    choice = fuse(score, 1, fused=True)
    assert choice.index.tolist() == [[0]] and choice.tokens == 2
    assert choice.into is not None and choice.into.tolist() == [[0, 1, 1, 1]]
    assert choice.weight is not None
    found = mixed(x, choice.into, choice.weight, 2)
    torch.testing.assert_close(found[0, 1], (0.1 * x[0, 1] + 0.3 * x[0, 2] + 0.2 * x[0, 3]) / 0.6)


def test_a_bfloat16_encoder_runs_every_reducer() -> None:
    encoder = build().bfloat16()
    for reduce in REDUCERS:
        for score in ("cls", "attention"):
            pruning = Pruning(KEEP, score, reduce)  # type: ignore[arg-type]
            encoded = encoder(mels().bfloat16(), pruning, collect_dropped=True)
            assert encoded.tokens.dtype == encoded.dropped.dtype == torch.bfloat16
            assert bool(encoded.tokens.isfinite().all())


def test_segments_keep_their_share() -> None:
    first = list(range(40))  # the first half of the recording is all that scores
    encoded = make_encoder()(mels(), Pruning({0: 0.5}, keep_only(first), "segment"))
    for clip in encoded.index.tolist():
        steps = [cell // BANDS // SEGMENT for cell in clip]
        assert [steps.count(n) for n in range(3)] == [16, 16, 8]  # 8, 8 and 4 steps of 4 patches, halved
    assert encoded.index[0, :16].tolist() == list(range(16))


@given(st.lists(st.integers(0, 50), min_size=1, max_size=9).filter(any), st.data())
def test_shares_are_proportional_and_complete(present: list[int], data: st.DataObject) -> None:
    from sonopsis.pruning.select import shares

    kept = data.draw(st.integers(1, sum(present)))
    found = shares(present, kept)
    assert sum(found) == kept
    for size, share in zip(present, found, strict=True):
        assert share <= size and abs(share - kept * size / sum(present)) < 1


@pytest.mark.parametrize(("reduce", "whole", "groups"), [("columns", BANDS, STEPS), ("bands", STEPS, BANDS)])
def test_whole_columns_and_bands_survive(reduce: Any, whole: int, groups: int) -> None:
    for score in ("random", "cls"):
        encoded = make_encoder()(mels(), Pruning({0: 0.75, 2: 0.5}, score, reduce))  # type: ignore[arg-type]
        for stage, left in zip(encoded.stages, (groups * 3 // 4, -(-groups * 3 // 8)), strict=True):
            for clip in stage.tolist():
                group = [cell // BANDS if reduce == "columns" else cell % BANDS for cell in clip]
                assert len(set(group)) == left and all(group.count(n) == whole for n in set(group))


def test_the_best_column_and_band_survive() -> None:
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
    from sonopsis.pruning.select import by_mass

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


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("reduce", REDUCERS)
def test_the_connector_reads_what_every_reducer_gives(reduce: Any, layout: Any) -> None:
    torch.manual_seed(1)
    connector = Connector(ConnectorConfig(16, 8, BANDS, layout)).eval()
    encoded = make_encoder()(mels(1), Pruning(KEEP, reduce=reduce), collect_dropped=True)
    kept = encoded.index.shape[1] - encoded.fused
    length = {"concat": STEPS, "time_major": kept + STEPS - 1, "frequency_major": kept + BANDS - 1}[layout]
    prefix = connector(encoded)
    assert prefix.shape == (1, length + 1, 8) and bool(prefix.isfinite().all())


@pytest.mark.parametrize("reduce", REDUCERS)
def test_the_filled_grid_against_a_loop(reduce: Any) -> None:
    encoded: Encoded[Tensor] = make_encoder()(mels(), Pruning(KEEP, reduce=reduce), collect_dropped=True)
    grid, kept = fill_grid(encoded), encoded.index.shape[1] - encoded.fused
    assert encoded.source is not None and encoded.dropped is not None
    for clip in range(3):
        for cell, token in enumerate(encoded.source[clip].tolist()):
            state = encoded.tokens[clip, token] if 0 <= token < kept else encoded.dropped[clip, cell]
            assert torch.equal(grid[clip, cell], state)
    assert bool((grid.abs().sum(-1) > 0).all())


def test_clips_of_different_lengths_have_no_long_layout_together() -> None:
    encoded = make_encoder()(mels(4), Pruning({0: 0.8}, reduce="mass"), collect_dropped=True)
    assert not encoded.mask.all()
    assert Connector(ConnectorConfig(16, 8, BANDS))(encoded).shape == (4, STEPS + 1, 8)
    with pytest.raises(ValueError, match="one at a time"):
        Connector(ConnectorConfig(16, 8, BANDS, "time_major"))(encoded)


def test_numpy_carries_source_along() -> None:
    arrays = make_encoder()(mels(), Pruning(KEEP, reduce="merge")).numpy()
    assert arrays.source.dtype == "int64" and arrays.size.sum(axis=1).tolist() == [PATCHES] * 3
