"""The masked autoencoder: an encoder of the visible patches, and a small decoder that predicts the hidden ones.

AudioMAE (arXiv 2207.06405), section 3, with attention over the whole grid in the decoder.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from sonopsis.encoder import Encoder, EncoderConfig
from sonopsis.encoder.block import Block
from sonopsis.encoder.positions import sincos_table
from sonopsis.training.config import MaskedSettings


class Decoder(nn.Module):
    """Encoded visible patches -> a prediction of every patch's log-Mel values."""

    positions: Tensor  # (1, N, d), a constant: sin-cos codes

    def __init__(self, encoder: EncoderConfig, settings: MaskedSettings) -> None:
        """Raises ValueError, naming the key, for sizes that do not fit each other."""
        super().__init__()
        width, self.prefix = settings.decoder_width, encoder.prefix_tokens
        try:
            config = replace(
                encoder, width=width, depth=settings.decoder_depth, heads=settings.decoder_heads, position="sincos"
            )
        except ValueError as error:
            raise ValueError(f"masked.decoder_width, .decoder_heads: {error}") from error
        # MAE norms what leaves the encoder; an encoder that is pooled by its mean has no such norm of its own.
        plain = encoder.norm == "pre" and not encoder.final_norm
        self.norm_in = nn.LayerNorm(encoder.width, eps=encoder.norm_eps) if plain else nn.Identity()
        self.embed = nn.Linear(encoder.width, width)
        self.mask_token = nn.Parameter(torch.zeros(width))
        table = torch.from_numpy(sincos_table(config.grid(config.frames), width))
        self.register_buffer("positions", table[None], persistent=False)
        self.blocks: Sequence[Block] = nn.ModuleList(  # type: ignore[assignment]
            Block(config, 0.0) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(width, eps=config.norm_eps) if config.norm == "pre" else nn.Identity()
        self.head = nn.Linear(width, config.patch[0] * config.patch[1])
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(self, tokens: Tensor, visible: Tensor, patches: int) -> Tensor:
        """Prefix and visible tokens (B, P + K, D) of the cells `visible` (B, K) -> (B, N, p_t * p_f), N = `patches`."""
        x = self.embed(self.norm_in(tokens))  # (B, P + K, d)
        grid = self.placed(x[:, self.prefix :], visible, patches) + self.positions[:, :patches]  # (B, N, d)
        x = torch.cat([x[:, : self.prefix], grid], dim=1)  # (B, P + N, d)
        for block in self.blocks:
            x = block(x)
        predicted: Tensor = self.head(self.norm(x[:, self.prefix :]))
        return predicted

    def placed(self, tokens: Tensor, visible: Tensor, patches: int) -> Tensor:
        """Tokens (B, K, d) at their cells (B, K) of the grid, the mask token at all others: (B, N, d)."""
        grid = self.mask_token.to(tokens.dtype).expand(len(tokens), patches, -1)
        return grid.scatter(1, visible.unsqueeze(-1).expand_as(tokens), tokens)


class MaskedAutoencoder(nn.Module):
    """What masked pretraining trains; only its encoder is saved."""

    def __init__(self, encoder: Encoder, settings: MaskedSettings) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = Decoder(encoder.config, settings)

    def forward(self, mel: Tensor, visible: Tensor) -> Tensor:
        """Normalised log-Mel (B, T, M), of which the cells `visible` (B, K) are shown -> (B, N, p_t * p_f)."""
        time, frequency = self.encoder.config.grid(mel.shape[1])
        predicted: Tensor = self.decoder(encode_visible(self.encoder, mel, visible), visible, time * frequency)
        return predicted


def encode_visible(encoder: Encoder, mel: Tensor, visible: Tensor) -> Tensor:
    """The prefix and the patches `visible` (B, K) of a log-Mel (B, T, M), encoded as if there were no others.

    (B, P + K, D), normed where the encoder's own tokens are. The blocks compute these tokens alone.
    """
    prefix = encoder.config.prefix_tokens
    x, _ = encoder.embed(mel)  # (B, P + N, D)
    cells = visible.unsqueeze(-1).expand(-1, -1, x.shape[2])  # (B, K, D)
    x = torch.cat([x[:, :prefix], x[:, prefix:].gather(1, cells)], dim=1)  # (B, P + K, D)
    for block in encoder.blocks:
        x = block(x)
    normed: Tensor = encoder.norm(x)
    return normed


def patch_values(mel: Tensor, patch: tuple[int, int]) -> Tensor:
    """Log-Mel (B, T, M) -> the values of every patch (B, N, p_t * p_f), patches and values in time-major order."""
    batch, frames, mels = mel.shape
    split = mel.view(batch, frames // patch[0], patch[0], mels // patch[1], patch[1])  # (B, t, p_t, f, p_f)
    return split.transpose(2, 3).reshape(batch, -1, patch[0] * patch[1])
