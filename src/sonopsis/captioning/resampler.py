"""A prefix of a fixed length: learned queries that attend to the vectors of a connector, as many as there are.

This is the resampler of Flamingo (arXiv 2204.14198), which comes from the Perceiver (arXiv 2103.03206): in each layer
the queries attend to the vectors and to themselves, and a small MLP follows. Clips of any length, and clips of which
pruning left few tokens, give the language model the same number of vectors.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

DEPTH = 2
HEAD_WIDTH = 64
QUERY_STD = 0.02


class ResamplerLayer(nn.Module):
    """Attention of queries to vectors and queries, and an MLP, each with its norm before it and a residual around."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = width // math.gcd(width, HEAD_WIDTH)
        self.norm_vectors = nn.LayerNorm(width)
        self.norm_queries = nn.LayerNorm(width)
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, 2 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, queries: Tensor, vectors: Tensor) -> Tensor:
        """Queries (B, N, E) and vectors (B, L, E) -> queries (B, N, E)."""
        asked = self.norm_queries(queries)
        read = torch.cat([self.norm_vectors(vectors), asked], dim=1)  # (B, L + N, E)
        key, value = (self._heads(part) for part in self.key_value(read).chunk(2, dim=2))  # each (B, H, L + N, E/H)
        heard = functional.scaled_dot_product_attention(self._heads(self.query(asked)), key, value)
        queries = queries + self.out(heard.transpose(1, 2).flatten(2))
        return queries + self.mlp(queries)

    def _heads(self, x: Tensor) -> Tensor:
        """(B, L, E) -> (B, H, L, E/H)."""
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


class Resampler(nn.Module):
    """A fixed number of vectors out of any number."""

    def __init__(self, width: int, queries: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(QUERY_STD * torch.randn(queries, width))
        self.layers = nn.ModuleList(ResamplerLayer(width) for _ in range(DEPTH))
        self.norm = nn.LayerNorm(width)

    def forward(self, vectors: Tensor) -> Tensor:
        """Vectors (B, L, E) -> (B, N, E), N the number of queries."""
        queries = self.queries.to(vectors.dtype).expand(vectors.shape[0], -1, -1)
        for layer in self.layers:
            queries = layer(queries, vectors)
        return self.norm(queries)
