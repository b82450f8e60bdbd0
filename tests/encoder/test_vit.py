"""The encoder against a second, plain implementation, and what must hold for any pruning."""

from typing import Any

import pytest
import torch
from torch import Tensor

from sonopsis.encoder import PRESETS, Encoded, Encoder, EncoderConfig
from sonopsis.pruning import Pruning, kept_count

WHISPER: dict[str, Any] = {
    "family": "whisper",
    "stem": "conv1d",
    "patch": (2, 128),
    "stride": (2, 128),
    "prefix_tokens": 0,
    "position": "sinusoid",
    "pooling": "mean",
    "token_norm": True,
    "score": "attention",
}
FAMILIES: dict[str, dict[str, Any]] = {
    "sonopsis": {},
    "ast": {"prefix_tokens": 2, "position": "learned", "pooling": "cls_dist"},
    "audiomae": {"position": "learned", "pooling": "mean", "score": "attention"},
    "eat": {"norm": "post"},
    "overlapping": {"patch": (16, 32), "stride": (12, 16)},
    "whisper": WHISPER,
    "all layers of whisper": {**WHISPER, "layer_weights": True},
    "all layers of audiomae": {"pooling": "mean", "score": "attention", "layer_weights": True},
}
SCORED = [  # without a prefix there is no CLS to ask
    (family, score)
    for family, fields in FAMILIES.items()
    for score in ("cls", "attention")
    if score == "attention" or fields.get("prefix_tokens", 1)
]
PRUNINGS: dict[str, dict[int, float]] = {
    "none": {},
    "one block": {1: 0.4},
    "every block": {0: 0.9, 1: 0.7, 2: 0.5},
}


def mels(batch: int = 3, frames: int = 64) -> Tensor:
    return torch.randn(batch, frames, 128, generator=torch.Generator().manual_seed(5))


def close(ours: Tensor, theirs: Tensor, bound: float = 1e-5) -> bool:
    if ours.shape != theirs.shape:
        return False
    return not ours.numel() or bool((ours - theirs).abs().max() <= bound * theirs.abs().max())


@pytest.mark.parametrize("pruning", PRUNINGS)
@pytest.mark.parametrize(("family", "score"), SCORED)
def test_equals_the_plain_implementation(
    family: str, pruning: str, score: Any, make_encoder: Any, plain_encode: Any
) -> None:
    encoder: Encoder = make_encoder(**FAMILIES[family])
    config, mel, rates = encoder.config, mels(), PRUNINGS[pruning]
    time, frequency = config.grid(64)
    counts, left = {}, time * frequency
    for block, rate in rates.items():
        counts[block] = left = kept_count(left, rate)
    with torch.inference_mode():
        plain = [plain_encode(encoder.state_dict(), config, clip, counts, score) for clip in mel]
        for collect_dropped in (False, True):
            encoded = encoder(mel, Pruning(rates, score=score), collect_dropped=collect_dropped)
            assert encoded.grid == (time, frequency)
            assert encoded.index.tolist() == [clip["index"] for clip in plain]
            assert [stage.tolist() for stage in encoded.stages] == [
                list(stage) for stage in zip(*(clip["stages"] for clip in plain), strict=True)
            ]
            assert close(encoded.tokens, torch.stack([clip["tokens"] for clip in plain]))
            assert close(encoded.prefix, torch.stack([clip["prefix"] for clip in plain]))
            pooled = torch.stack([clip["pooled"] for clip in plain])
            assert close(encoder.pool(encoded), pooled)
            if collect_dropped and rates:
                assert close(encoded.dropped, torch.stack([clip["dropped"] for clip in plain]))
            assert (encoded.dropped is not None) == collect_dropped
        assert close(encoder.pool(encoder(mel, Pruning(rates, score=score), pooled_only=True)), pooled)


@pytest.mark.parametrize("score", ["cls", "attention"])
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_gradients_equal_those_of_the_plain_implementation(
    norm: str, score: Any, make_encoder: Any, plain_encode: Any
) -> None:
    encoder: Encoder = make_encoder(norm=norm)
    rates = {1: 0.5}
    state = {name: value.detach().clone().requires_grad_() for name, value in encoder.named_parameters()}
    plain = plain_encode(state, encoder.config, mels(1)[0], {1: 16}, score)
    plain["pooled"].square().sum().backward()
    for pooled_only in (False, True):
        encoder.zero_grad()
        mel = mels(1).requires_grad_()
        encoder.pool(encoder(mel, Pruning(rates, score=score), pooled_only=pooled_only)).square().sum().backward()
        scale = max(float(value.grad.abs().max()) for value in state.values() if value.grad is not None)
        for name, parameter in encoder.named_parameters():
            assert parameter.grad is not None, name
            assert (parameter.grad - state[name].grad).abs().max() <= 1e-4 * scale, name
        assert mel.grad is not None
        assert bool((mel.grad.reshape(4, 16, 8, 16).abs().amax(dim=(1, 3)) > 0).all())  # dropped patches still matter


@pytest.mark.parametrize("family", FAMILIES)
def test_keep_rate_1_is_the_identity_bit_for_bit(family: str, make_encoder: Any) -> None:
    encoder: Encoder = make_encoder(**FAMILIES[family])
    mel = mels()
    with torch.inference_mode():
        for arguments in ({}, {"pooled_only": True}, {"collect_dropped": True}):
            plain = encoder(mel, **arguments)
            for rate in (1.0, 0.999):  # 0.999 of 32 patches is all of them, too
                pruned = encoder(mel, Pruning({0: rate, 1: rate}), **arguments)
                assert torch.equal(plain.tokens, pruned.tokens)
                assert torch.equal(plain.prefix, pruned.prefix)
                assert torch.equal(plain.index, pruned.index)
                assert [stage.shape for stage in pruned.stages] == [(3, plain.grid[0] * plain.grid[1])] * 2


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_equals_its_clips_one_by_one(family: str, make_encoder: Any) -> None:
    encoder: Encoder = make_encoder(**FAMILIES[family])
    mel, pruning = mels(5), Pruning({0: 0.7, 2: 0.6})
    with torch.inference_mode():
        together = encoder(mel, pruning)
        for row in range(5):
            alone = encoder(mel[row : row + 1], pruning)
            assert torch.equal(together.index[row], alone.index[0])
            assert close(together.tokens[row], alone.tokens[0])
            assert close(together.prefix[row], alone.prefix[0])


def test_a_shorter_clip_is_read_as_by_an_encoder_made_for_it(make_encoder: Any) -> None:
    long: Encoder = make_encoder(frames=160)
    short = Encoder(EncoderConfig(**{**long.config.to_dict(), "frames": 48, "patch": (16, 16), "stride": (16, 16)}))
    short.load_state_dict(long.state_dict())
    short.eval()
    mel = mels(2, 48)
    with torch.inference_mode():
        ours, theirs = long(mel, Pruning({1: 0.5})), short(mel, Pruning({1: 0.5}))
    assert ours.grid == (3, 8)
    assert torch.equal(ours.tokens, theirs.tokens)


@pytest.mark.parametrize("score", ["cls", "attention"])
def test_autocast_runs_and_trains(score: Any, make_encoder: Any) -> None:
    encoder: Encoder = make_encoder(stem="conv", drop_path=0.1).train()
    with torch.autocast("cpu", torch.bfloat16):
        encoded = encoder(mels(), Pruning({0: 0.7, 1: 0.7}, score=score), collect_dropped=True)
        loss = encoder.pool(encoded).float().square().sum() + encoded.tokens.float().square().sum()
    loss.backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in encoder.parameters())
    with torch.inference_mode():
        exact = encoder.eval()(mels(), Pruning({0: 0.7}, score=score))
        with torch.autocast("cpu", torch.bfloat16):
            rough = encoder(mels(), Pruning({0: 0.7}, score=score))
    same = torch.isin(rough.index[0], exact.index[0]).float().mean()
    assert same >= 0.8
    assert rough.prefix.float().isfinite().all()


def test_a_bfloat16_encoder_runs(make_encoder: Any) -> None:
    encoder: Encoder = make_encoder().bfloat16()
    for score in ("cls", "attention"):
        encoded = encoder(mels().bfloat16(), Pruning({1: 0.5}, score=score), collect_dropped=True)
        assert encoded.tokens.dtype == torch.bfloat16
        assert encoded.tokens.shape == (3, 16, 32)


def test_stochastic_depth_drops_whole_branches_while_training_only(make_encoder: Any) -> None:
    block = make_encoder(depth=2, drop_path=0.5).blocks[1]
    x = torch.randn(1, 5, 32, generator=torch.Generator().manual_seed(0)).expand(256, -1, -1)
    with torch.inference_mode():
        assert len(block(x).round(decimals=3).unique(dim=0)) == 1
        attention = block.attn(block.norm1(x))
        torch.manual_seed(0)
        trained = block.train()(x)
        kinds, counts = trained.round(decimals=3).unique(dim=0, return_counts=True)
        assert len(kinds) == 4  # with or without attention, with or without the MLP
        assert counts.min() > 256 / 4 / 2
        untouched = (trained - x).abs().amax(dim=(1, 2)) == 0
        assert untouched.any()
        hidden = x + 2 * attention  # twice the branch where it is kept: its mean stays
        assert ((trained - hidden).abs().amax(dim=(1, 2)) < 1e-5).any()


def test_numpy_gives_float32_arrays_and_keeps_the_grid(make_encoder: Any) -> None:
    encoded: Encoded[Tensor] = make_encoder()(mels(), Pruning({1: 0.5}), collect_dropped=True)
    arrays = encoded.numpy()
    assert arrays.tokens.dtype == arrays.prefix.dtype == arrays.dropped.dtype == "float32"
    assert arrays.index.dtype == arrays.stages[0].dtype == "int64"
    assert arrays.mask.dtype == bool and arrays.mask.all()
    assert arrays.grid == (4, 8)
    assert (arrays.tokens == encoded.tokens.detach().numpy()).all()


def test_wrong_input_is_refused_with_the_way_out(make_encoder: Any) -> None:
    encoder: Encoder = make_encoder()
    with pytest.raises(ValueError, match=r"multiples of 16 .* up to 64; pad or cut"):
        encoder(mels(1, 63))
    with pytest.raises(ValueError, match="up to 64"):
        encoder(mels(1, 80))
    with pytest.raises(ValueError, match=r"\(batch, frames, 128\)"):
        encoder(torch.zeros(64, 128))
    with pytest.raises(ValueError, match=r"blocks \[3\] do not exist"):
        encoder(mels(), Pruning({3: 0.5}))
    with pytest.raises(ValueError, match="collect_dropped or pooled_only"):
        encoder(mels(), collect_dropped=True, pooled_only=True)
    with pytest.raises(ValueError, match="learned positions fit 64"):
        make_encoder(position="learned")(mels(1, 48))


@pytest.mark.parametrize(
    ("preset", "millions"),  # encoder without head: AST is 86.6 M with its 527 labels, EAT 85.25 M
    [
        ("ast", 85.65),
        ("ast_stride10", 86.19),
        ("audiomae", 85.65),
        ("eat", 85.25),
        ("small", 3.83),
        # Whisper's own count is that of its 1,500 positions more, and that of the keys' biases less.
        ("whisper-tiny", 8.208 - 0.576 + 0.002),
        ("whisper-base", 20.591 - 0.768 + 0.003),
        ("whisper-small", 88.154 - 1.152 + 0.009),
        ("whisper-large-v3", 636.969 - 1.920 + 0.041),
    ],
)
def test_presets_have_the_sizes_of_their_families(preset: str, millions: float) -> None:
    with torch.device("meta"):
        encoder = Encoder(PRESETS[preset])
    assert sum(p.numel() for p in encoder.parameters()) / 1e6 == pytest.approx(millions, abs=0.006)
