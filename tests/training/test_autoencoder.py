"""The masked autoencoder: hidden patches reach nothing, tokens return to their cells, predictions read the whole."""

import numpy as np
import pytest
import torch
from torch import Tensor

from sonopsis.encoder import PRESETS, Encoder, EncoderConfig
from sonopsis.training.autoencoder import Decoder, MaskedAutoencoder, encode_visible, patch_values
from sonopsis.training.config import MaskedSettings
from sonopsis.training.masks import draw_visible

SMALL = EncoderConfig("sonopsis", 16, 2, 2, frames=64, patch=(16, 32), stride=(16, 32))  # a grid of 4 x 4
MEAN = EncoderConfig("audiomae", 16, 2, 2, frames=64, position="learned", pooling="mean", score="attention")
POST = EncoderConfig("eat", 16, 2, 2, frames=64, norm="post")
CONFIGS = pytest.mark.parametrize("config", [SMALL, MEAN, POST], ids=lambda config: config.family)
SIZES = MaskedSettings(decoder_width=8, decoder_depth=2, decoder_heads=2)


def example(config: EncoderConfig) -> tuple[Tensor, Tensor]:
    """Log-Mel (2, 64, 128) and visible cells (2, K)."""
    mel = torch.randn(2, 64, 128, generator=torch.Generator().manual_seed(1))
    return mel, torch.from_numpy(draw_visible(np.random.default_rng(2), 2, config.grid(64), SIZES))


def encoder_of(config: EncoderConfig) -> Encoder:
    torch.manual_seed(0)
    return Encoder(config).eval()


@CONFIGS
def test_visible_patches_are_encoded_as_if_attention_could_not_reach_the_others(config: EncoderConfig) -> None:
    encoder, (mel, visible) = encoder_of(config), example(config)
    found = encode_visible(encoder, mel, visible)
    x, _ = encoder.embed(mel)
    bias = torch.full((2, 1, 1, x.shape[1]), -torch.inf)
    bias[:, 0, 0, 0] = 0.0
    for clip in range(2):
        bias[clip, 0, 0, 1 + visible[clip]] = 0.0
    for block in encoder.blocks:
        x = block(x, bias)
    x = encoder.norm(x)
    rows = [x[clip, [0, *(1 + visible[clip])]] for clip in range(2)]
    torch.testing.assert_close(found, torch.stack(rows))


@CONFIGS
def test_all_patches_visible_is_the_encoder_itself(config: EncoderConfig) -> None:
    encoder, (mel, _) = encoder_of(config), example(config)
    time, frequency = config.grid(64)
    found = encode_visible(encoder, mel, torch.arange(time * frequency).expand(2, -1))
    encoded = encoder(mel)
    torch.testing.assert_close(found, torch.cat([encoded.prefix, encoded.tokens], dim=1))


@CONFIGS
def test_hidden_values_reach_no_token_and_no_prediction(config: EncoderConfig) -> None:
    torch.manual_seed(0)
    autoencoder = MaskedAutoencoder(Encoder(config), SIZES).eval()
    mel, visible = example(config)
    other = mel.clone()
    pt, pf = config.patch
    for clip in range(2):
        for cell in set(range(64 // pt * (128 // pf))) - set(visible[clip].tolist()):
            t, f = divmod(cell, 128 // pf)
            other[clip, t * pt : (t + 1) * pt, f * pf : (f + 1) * pf] += 7.0
    assert not torch.equal(mel, other)
    assert torch.equal(autoencoder(mel, visible), autoencoder(other, visible))


def test_blocks_of_the_encoder_compute_visible_patches_alone() -> None:
    encoder, (mel, visible) = encoder_of(SMALL), example(SMALL)
    lengths: list[int] = []
    for block in encoder.blocks:
        block.register_forward_pre_hook(lambda _, given: lengths.append(given[0].shape[1]))
    encode_visible(encoder, mel, visible)
    assert lengths == [1 + 3, 1 + 3]  # CLS and 3 of 16


def test_tokens_are_put_where_the_paper_restores_them() -> None:
    """MAE appends mask tokens to the visible ones and gathers by ids_restore, the inverse of the shuffling."""
    decoder = Decoder(SMALL, SIZES)
    _, visible = example(SMALL)
    tokens = torch.randn(2, visible.shape[1], 8)
    placed = decoder.placed(tokens, visible, 16)
    for clip in range(2):
        shuffled = visible[clip].tolist() + [cell for cell in range(16) if cell not in visible[clip].tolist()]
        restore = sorted(range(16), key=lambda cell: shuffled[cell])
        whole = torch.cat([tokens[clip], decoder.mask_token.expand(16 - visible.shape[1], -1)])
        assert torch.equal(placed[clip], whole[restore])
    cells = visible.unsqueeze(-1).expand(-1, -1, 8)
    assert torch.equal(placed.gather(1, cells), tokens)  # and back


def test_a_hidden_patch_is_predicted_from_every_visible_one_and_from_its_place() -> None:
    torch.manual_seed(0)
    decoder = Decoder(SMALL, SIZES).eval()
    _, visible = example(SMALL)
    tokens = torch.randn(2, 1 + visible.shape[1], 16, requires_grad=True)
    predicted = decoder(tokens, visible, 16)
    assert predicted.shape == (2, 16, 16 * 32)
    first, second = [cell for cell in range(16) if cell not in visible[0].tolist()][:2]
    predicted[0, first].square().sum().backward()
    assert tokens.grad is not None and bool((tokens.grad[0].abs().sum(dim=1) > 0).all())
    assert not tokens.grad[1].any()
    assert not torch.allclose(predicted[0, first], predicted[0, second])
    assert "positions" not in dict(decoder.named_parameters())


def test_an_encoder_that_norms_no_tokens_has_them_normed_for_the_decoder() -> None:
    normed = [type(Decoder(config, SIZES).norm_in).__name__ for config in (SMALL, MEAN, POST)]
    assert normed == ["Identity", "LayerNorm", "Identity"]


def test_values_of_patches_are_in_time_major_order() -> None:
    mel = torch.arange(2 * 32 * 128.0).view(2, 32, 128)
    values = patch_values(mel, (16, 32))
    assert values.shape == (2, 8, 512)
    for n in range(8):
        t, f = divmod(n, 4)
        assert values[1, n].tolist() == mel[1, 16 * t : 16 * t + 16, 32 * f : 32 * f + 32].flatten().tolist()


def test_sizes_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match=r"masked.decoder_width, .decoder_heads: .*width 10 .*heads 4"):
        Decoder(PRESETS["small"], MaskedSettings(decoder_width=10))
