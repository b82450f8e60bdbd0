"""What must hold for every reducer with every score: of the encoder's output, and of the connector that reads it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sonopsis.captioning.config import LAYOUTS, ConnectorConfig
from sonopsis.captioning.connector import Connector, fill_grid
from sonopsis.encoder import Encoded, Encoder
from sonopsis.pruning import REDUCERS, SCORES, Candidates, Pruning

STEPS, BANDS = 20, 4  # of the encoders that make_encoder builds
PATCHES = STEPS * BANDS
PART = {"pooled_only": True}
KEEP = {0: 0.7, 1: 0.8, 3: 0.6}
Make = Callable[..., Encoder]
Mels = Callable[..., Tensor]


def loudness(candidates: Candidates) -> Tensor:
    return candidates.tokens.norm(dim=-1) - 3  # some below 0


ALL_SCORES = [*SCORES, loudness]
names = [*SCORES, "function"]


@pytest.mark.parametrize("reduce", REDUCERS)
@pytest.mark.parametrize("score", ALL_SCORES, ids=names)
def test_keep_1_is_the_identity_bit_for_bit(reduce: Any, score: Any, make_encoder: Make, mels: Mels) -> None:
    for pooling, arguments in (("cls", {"collect_dropped": True}), ("cls", PART), ("mean", PART)):
        encoder, mel = make_encoder(pooling=pooling), mels(2)
        with torch.inference_mode():
            plain = encoder(mel, **arguments)
            kept = encoder(mel, Pruning({0: 1.0, 2: 1.0}, score, reduce), **arguments)
        for field in ("tokens", "index", "mask", "size", "prefix"):
            assert torch.equal(getattr(plain, field), getattr(kept, field)), field
        assert not kept.fused


def check(encoded: Encoded[Tensor], pruning: Pruning, grid: tuple[int, int]) -> None:
    """Everything an `Encoded` says about where the patches are agrees."""
    patches, reduce = grid[0] * grid[1], pruning.reduce
    clips, tokens = encoded.index.shape
    on_grid = tokens - encoded.fused
    assert encoded.prefix.shape[:2] == (clips, 2)  # never dropped
    left = patches
    assert len(encoded.stages) == len(pruning.keep)
    for block, stage in zip(sorted(pruning.keep), encoded.stages, strict=True):
        most = pruning.count(block, left, grid)
        assert stage.shape[1] <= most if reduce == "mass" else stage.shape[1] == most
        left = stage.shape[1]
    assert encoded.fused == (reduce == "fuse" and left < patches)
    assert encoded.padded == (not encoded.mask.all())
    assert left == on_grid and encoded.tokens.shape[:2] == (clips, tokens)
    assert encoded.source is not None and encoded.dropped is not None
    for clip in range(clips):
        cells = encoded.index[clip][encoded.mask[clip]].tolist()
        own = cells[:-1] if encoded.fused else cells
        assert own == sorted(set(own)) and all(0 <= cell < patches for cell in own)
        assert encoded.index[clip][len(own) :].tolist() == [-1] * (tokens - len(own))
        assert not encoded.mask[clip, len(cells) :].any()
        assert not encoded.tokens[clip, len(cells) :].any()
        source = encoded.source[clip].tolist()
        assert [source[cell] for cell in own] == list(range(len(own)))
        held = [source.count(token) for token in range(len(cells))]
        assert encoded.size[clip, : len(cells)].tolist() == held
        if reduce in ("fuse", "merge"):
            assert sum(held) == patches
        else:
            assert held == [1] * len(own)
        states = encoded.dropped[clip].abs().amax(dim=1) > 0
        assert states.tolist() == [not 0 <= token < on_grid for token in source]


@pytest.mark.parametrize("reduce", REDUCERS)
@pytest.mark.parametrize("score", ALL_SCORES, ids=names)
def test_bookkeeping(reduce: Any, score: Any, make_encoder: Make, mels: Mels) -> None:
    pruning = Pruning(KEEP, score, reduce)
    with torch.inference_mode():
        encoded = make_encoder()(mels(), pruning, collect_dropped=True)
    check(encoded, pruning, (STEPS, BANDS))
    assert encoded.index.shape[1] < PATCHES


@settings(max_examples=60, deadline=None)
@given(
    keep=st.dictionaries(st.integers(0, 4), st.floats(0.02, 1), max_size=4),
    score=st.sampled_from(ALL_SCORES),
    reduce=st.sampled_from(REDUCERS),
    norm=st.sampled_from(["pre", "post"]),
    steps=st.integers(1, STEPS),
)
def test_any_pruning_keeps_the_bookkeeping_right(
    keep: dict[int, float], score: Any, reduce: Any, norm: str, steps: int, make_encoder: Make, mels: Mels
) -> None:
    pruning = Pruning(keep, score, reduce)
    with torch.inference_mode():
        encoded = make_encoder(norm=norm)(mels(2)[:, : 16 * steps], pruning, collect_dropped=True)
    check(encoded, pruning, (steps, BANDS))


def test_one_clip_of_a_batch_does_not_decide_for_another(make_encoder: Make, mels: Mels) -> None:
    """Three patches are left of one clip; nine tenths of its score, and not ceil(0.9 * 3) patches, must go on."""
    weights = torch.ones(2, PATCHES)
    weights[0] = 1e-6
    weights[0, [5, 6, 7]] = torch.tensor([10.0, 10.0, 0.5])

    def score(candidates: Candidates) -> Tensor:
        clips = weights[: len(candidates.index)]
        return clips.gather(1, candidates.index.clamp(min=0))

    pruning = Pruning({0: 0.99, 1: 0.9}, score, "mass")
    together, alone = (make_encoder()(mels(clips), pruning) for clips in (2, 1))
    assert alone.index.tolist() == [[5, 6]]
    assert together.index[0][together.mask[0]].tolist() == [5, 6]
    assert together.stages[0][0][:3].tolist() == alone.stages[0][0].tolist() == [5, 6, 7]


@pytest.mark.parametrize(
    ("score", "pooling"), [("cls", "cls"), ("attention", "mean"), ("value", "mean"), ("std", "cls")]
)
@pytest.mark.parametrize("reduce", REDUCERS)
def test_a_mixed_batch_equals_its_clips_one_by_one(
    reduce: Any, score: Any, pooling: str, make_encoder: Make, mels: Mels
) -> None:
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
def test_every_reducer_trains(reduce: Any, norm: str, build: Make, mels: Mels) -> None:
    encoder = build(pooling="mean", norm=norm, drop_path=0.1).train()
    with torch.autocast("cpu", torch.bfloat16):
        encoded = encoder(mels(), Pruning(KEEP, "attention", reduce), collect_dropped=True)
        loss = encoder.pool(encoded).float().square().sum() + encoded.prefix.float().sum()
    loss.backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in encoder.parameters())


def test_a_bfloat16_encoder_runs_every_reducer(build: Make, mels: Mels) -> None:
    encoder = build().bfloat16()
    for reduce in REDUCERS:
        for score in ("cls", "attention"):
            pruning = Pruning(KEEP, score, reduce)  # type: ignore[arg-type]
            encoded = encoder(mels().bfloat16(), pruning, collect_dropped=True)
            assert encoded.tokens.dtype == encoded.dropped.dtype == torch.bfloat16
            assert bool(encoded.tokens.isfinite().all())


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("reduce", REDUCERS)
def test_the_connector_reads_what_every_reducer_gives(reduce: Any, layout: Any, make_encoder: Make, mels: Mels) -> None:
    torch.manual_seed(1)
    connector = Connector(ConnectorConfig(16, 8, BANDS, layout)).eval()
    encoded = make_encoder()(mels(1), Pruning(KEEP, reduce=reduce), collect_dropped=True)
    kept = encoded.index.shape[1] - encoded.fused
    length = {"concat": STEPS, "time_major": kept + STEPS - 1, "frequency_major": kept + BANDS - 1}[layout]
    prefix = connector(encoded)
    assert prefix.shape == (1, length + 1, 8) and bool(prefix.isfinite().all())


@pytest.mark.parametrize("reduce", REDUCERS)
def test_the_filled_grid_against_a_loop(reduce: Any, make_encoder: Make, mels: Mels) -> None:
    encoded: Encoded[Tensor] = make_encoder()(mels(), Pruning(KEEP, reduce=reduce), collect_dropped=True)
    grid, kept = fill_grid(encoded), encoded.index.shape[1] - encoded.fused
    assert encoded.source is not None and encoded.dropped is not None
    for clip in range(3):
        for cell, token in enumerate(encoded.source[clip].tolist()):
            state = encoded.tokens[clip, token] if 0 <= token < kept else encoded.dropped[clip, cell]
            assert torch.equal(grid[clip, cell], state)
    assert bool((grid.abs().sum(-1) > 0).all())


def test_clips_of_different_lengths_have_no_long_layout_together(make_encoder: Make, mels: Mels) -> None:
    encoded = make_encoder()(mels(4), Pruning({0: 0.8}, reduce="mass"), collect_dropped=True)
    assert not encoded.mask.all()
    assert Connector(ConnectorConfig(16, 8, BANDS))(encoded).shape == (4, STEPS + 1, 8)
    with pytest.raises(ValueError, match="one at a time"):
        Connector(ConnectorConfig(16, 8, BANDS, "time_major"))(encoded)


def test_numpy_carries_source_along(make_encoder: Make, mels: Mels) -> None:
    arrays = make_encoder()(mels(), Pruning(KEEP, reduce="merge")).numpy()
    assert arrays.source.dtype == "int64" and arrays.size.sum(axis=1).tolist() == [PATCHES] * 3
