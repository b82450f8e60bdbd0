"""Tokens that read each other before they become vectors: Mamba-2 forwards and backwards over the time-major tokens.

A state space hears only what came before. Two of them, one of which reads the tokens from the last to the first, let
each token know of all others at a cost that is linear in their number (the vision connector of ML-Mamba,
arXiv 2407.19832, is such a scan). Both are mixers of our own Mamba-2, so that nothing new is computed here.
"""

import math

from torch import Tensor, nn

from sonopsis.mamba2.block import Mixer, RMSNorm
from sonopsis.mamba2.config import Mamba2Config

STATE = 64  # n of each mixer
HEAD_DIM = 64  # p, or the largest that divides the width inside the mixer


class ScanLayer(nn.Module):
    """A norm, two mixers that read in opposite directions, and the residual around them."""

    def __init__(self, config: Mamba2Config) -> None:
        super().__init__()
        self.norm = RMSNorm(config.width, config.norm_eps)
        self.forwards = Mixer(config)
        self.backwards = Mixer(config)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, K, D) -> (B, K, D)."""
        normed = self.norm(tokens)
        heard: Tensor = self.forwards(normed) + self.backwards(normed.flip(1)).flip(1)
        return tokens + heard.to(tokens.dtype)


class BidirectionalScan(nn.Module):
    """So many layers over tokens in the order of the grid, time outside; pruned tokens are simply not there."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        head_dim = math.gcd(2 * width, HEAD_DIM)
        config = Mamba2Config(width, depth, vocab_size=1, state=STATE, head_dim=head_dim)
        self.layers = nn.ModuleList(ScanLayer(config) for _ in range(depth))

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, K, D) -> (B, K, D)."""
        for layer in self.layers:
            tokens = layer(tokens)
        return tokens
