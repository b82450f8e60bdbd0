"""Recording -> labels: an encoder, its pooled output and a linear head."""

from collections.abc import Collection

import torch
from torch import Tensor, nn

from sonopsis.encoder import Encoded, Encoder, EncoderConfig
from sonopsis.pruning import Pruning


class Head(nn.Module):
    """LayerNorm (unless `norm` is False) and a linear layer: pooled output (B, D + further) -> logits (B, labels).

    The LayerNorm is of the first D numbers; `further` ones come on a scale of their own.
    """

    def __init__(self, width: int, labels: int, norm_eps: float = 1e-6, *, norm: bool = True, further: int = 0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=norm_eps) if norm else nn.Identity()
        self.width = width
        self.linear = nn.Linear(width + further, labels)
        nn.init.trunc_normal_(self.linear.weight, std=0.02)
        nn.init.zeros_(self.linear.bias)

    def forward(self, pooled: Tensor) -> Tensor:
        """Pooled output (B, D + further) -> logits (B, labels)."""
        first = self.norm(pooled[:, : self.width])
        logits: Tensor = self.linear(torch.cat([first, pooled[:, self.width :]], dim=1))
        return logits


class Tagger(nn.Module):
    """The encoder with a classification head (arXiv 2504.01690, section 3), or, with 0 labels, without one."""

    def __init__(self, config: EncoderConfig, labels: int) -> None:
        super().__init__()
        self.encoder = Encoder(config)
        further = config.pooled_width - config.width
        self.head = (
            Head(config.width, labels, config.head_norm_eps, norm=config.head_norm, further=further) if labels else None
        )

    def forward(self, mel: Tensor, pruning: Pruning | None = None) -> Tensor:
        """Normalised log-Mel (B, T, M) -> logits (B, labels), computing only what the head reads."""
        encoded = self.encoder(mel, pruning, pooled_only=True)
        return self.logits(encoded)

    def encode(
        self,
        mel: Tensor,
        pruning: Pruning | None = None,
        *,
        collect_dropped: bool = False,
        collect_blocks: Collection[int] = (),
    ) -> Encoded:
        """Normalised log-Mel (B, T, M) -> every surviving token with its place on the grid, as `Encoder` gives them."""
        return self.encoder(mel, pruning, collect_dropped=collect_dropped, collect_blocks=collect_blocks)

    def logits(self, encoded: Encoded) -> Tensor:
        """Logits (B, labels) of tokens already computed; raises ValueError when there is no head."""
        if self.head is None:
            raise ValueError("this model has no classifier to tag with; its encoder alone can be used")
        return self.head(self.encoder.pool(encoded))
