"""Encoder tokens on the time-frequency grid -> prefix vectors for the language model.

Three layouts of the same tokens (arXiv 2509.15680, section 2), each followed by a two-layer MLP:

    concat           one vector per time step: its frequency tokens side by side        L = t / (pool * reduction)
    time_major       one vector per token, time outside, a separator between time steps   L = K + t - 1
    frequency_major  one vector per token, frequency outside, a separator between bands   L = K + f - 1

A pruned encoder leaves cells empty. `concat` needs the whole grid, so an empty cell is filled with the state its token
had in the block that dropped it, or with the token it was merged into; the other two layouts leave the cell out, which
shortens the prefix. `fill` chooses zeros or the mean of the survivors instead, and fills the grid of the other layouts
too. Without pruning no cell is empty and all of this is the identity.

An encoder with many time steps a second has more of them than a language model should read: `pool` neighbours are
averaged before the MLP (as in LTU, arXiv 2305.10790), `reduction` neighbours after the labels of each are scored.
`pool_frequency` averages over frequency rows as well, `scan` lets the tokens read each other (scan.py), `queries` read
a fixed number of vectors out of all (resampler.py), and `expand` makes several vectors of each: the "feature reduction
or expansion" of arXiv 2509.15680.

With `blocks` each time step also has what its tokens were after earlier blocks of the encoder, every channel scaled to
mean 0 and deviation 1 over clips: Whisper's early blocks hear sounds, its last ones words (docs/log.md). That is the
"audio feature diversity" of arXiv 2509.15680 within one encoder. `second` is that of two encoders: what another one
made of the same time steps, scaled alike.

With `labels` the language model reads what was recognised more than what was heard: each vector is scored for every
label, and the prefix is the labels' embeddings weighted by these scores, plus the vector itself through a gate that
training opens from zero. A language model can so learn to put facts into words before it hears anything, which takes a
from-scratch model a small part of the time it needs to learn both at once (docs/log.md).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from sonopsis.captioning.config import ConnectorConfig, Fill
from sonopsis.captioning.resampler import Resampler
from sonopsis.captioning.scan import BidirectionalScan
from sonopsis.encoder.encoded import Encoded, pooled
from sonopsis.encoder.grids import spread


@dataclass(frozen=True)
class Heard:
    """What a captioner with the layout concat reads of clips that its encoder has heard."""

    steps: Tensor  # (B, t, inputs + further) pooled time steps, for the connector
    summary: Tensor  # (B, D) one vector for the clip, for the connector
    pooled: Tensor  # (B, D) for the head

    def to(self, device: torch.device) -> "Heard":
        """The same on another device."""
        return Heard(self.steps.to(device), self.summary.to(device), self.pooled.to(device))


def fill_grid(encoded: Encoded, fill: Fill = "last") -> Tensor:
    """The full grid (B, N, D): each token at the cells that went into it, in every other cell its token's last state,
    zeros, or the mean of the tokens on the grid.

    A fused token has no place on the grid and is left out.
    Raises ValueError when tokens were pruned and the encoder did not collect what it dropped.
    """
    time, frequency = encoded.grid
    kept = encoded.tokens.shape[1] - encoded.fused
    if kept == time * frequency and not encoded.padded:
        return encoded.tokens
    source = encoded.source
    if source is None:
        raise ValueError("pruned tokens cannot be put back on the grid; call the encoder with collect_dropped=True")
    grid, held = spread(encoded.tokens, source, kept)  # (B, N, D), (B, N, 1)
    if fill == "zeros":
        return grid * held
    if fill == "mean":
        there = encoded.mask[:, :kept].unsqueeze(-1)  # (B, K, 1)
        mean = (encoded.tokens[:, :kept] * there).sum(dim=1, keepdim=True) / there.sum(dim=1, keepdim=True)
        return torch.where(held, grid, mean)
    if encoded.dropped is not None:
        return torch.where(held, grid, encoded.dropped.to(grid.dtype))
    if not bool(held.all()):
        raise ValueError("pruned tokens cannot be put back on the grid; call the encoder with collect_dropped=True")
    return grid


def summary_of(encoded: Encoded) -> Tensor:
    """One vector (B, D) for the clip: what attention pooling makes, CLS, or, without either, the mean over tokens."""
    vector: Tensor = encoded.prefix[:, 0] if encoded.prefix.shape[1] else pooled(encoded, "mean")
    return vector


def average(steps: Tensor, size: int) -> Tensor:
    """Means of `size` neighbouring time steps (B, t, E); the last one is of as many as are left."""
    if size == 1:
        return steps
    means = functional.avg_pool1d(steps.transpose(1, 2), size, ceil_mode=True, count_include_pad=False)  # (B, E, L)
    return means.transpose(1, 2)


def average_rows(grid: Tensor, size: int) -> Tensor:
    """Means of `size` neighbouring frequency rows of a grid (B, t, F, D); the last one is of as many as are left."""
    return grid if size == 1 else average(grid.flatten(0, 1), size).unflatten(0, grid.shape[:2])


class Connector(nn.Module):
    """Lay out an encoder's tokens in one order and map them to the width of the language model."""

    def __init__(self, config: ConnectorConfig) -> None:
        super().__init__()
        self.config = config
        d, e, inputs = config.encoder_width, config.width, config.inputs
        further = config.further
        self.norm = nn.LayerNorm(inputs)
        self.scale = nn.BatchNorm1d(further, affine=False) if further else None
        self.scan = BidirectionalScan(d, config.scan) if config.scan else None
        self.mlp = nn.Sequential(nn.Linear(inputs + further, e), nn.GELU(), nn.Linear(e, e))
        self.expand = nn.Linear(e, config.expand * e) if config.expand > 1 else None
        self.resampler = Resampler(e, config.queries) if config.queries else None
        self.summary = nn.Sequential(nn.LayerNorm(d), nn.Linear(d, e)) if config.summary else None
        self.separator = nn.Parameter(torch.zeros(e)) if config.layout != "concat" else None
        if config.labels:
            self.score = nn.Linear(e, config.labels)
            self.embed = nn.Linear(config.labels, e, bias=False)
            self.gate = nn.Parameter(torch.zeros(e))

    def forward(self, encoded: Encoded) -> Tensor:
        """Prefix vectors (B, L, E) of an `Encoded`; L as in the table above, plus one with `summary`."""
        return self.read(encoded)[0]

    def read(self, encoded: Encoded) -> tuple[Tensor, Tensor | None]:
        """The prefix (B, L, E), and, if it is made of labels, their logits: of each vector before reduction, and of the
        summary (B, t + 1, labels)."""
        if self.config.layout == "concat":
            return self.read_steps(self.steps(encoded), summary_of(encoded))
        if self.config.fills != "omit":
            grid = fill_grid(encoded, self.config.fills)
            cells = torch.arange(grid.shape[1], device=grid.device).expand(grid.shape[:2])
            return self._scored(self._long(grid, cells, encoded.grid), summary_of(encoded))
        if encoded.padded:
            raise ValueError(
                f"layout {self.config.layout} cannot lay out clips that kept different numbers of "
                "patches together; encode them one at a time, fill the cells, or use the layout concat"
            )
        kept = encoded.tokens.shape[1] - encoded.fused
        vectors = self._long(encoded.tokens[:, :kept], encoded.index[:, :kept], encoded.grid)
        return self._scored(vectors, summary_of(encoded))

    def steps(self, encoded: Encoded) -> Tensor:
        """What the layout concat reads of each time step, pooled: the filled grid, those of earlier blocks, and what a
        second encoder heard (B, t, inputs + further)."""
        grids = [fill_grid(encoded, self.config.fills), *(encoded.blocks or ())]  # each (B, N, D), n = t * f_rows + f
        rows = [average_rows(grid.unflatten(1, encoded.grid), self.config.pool_frequency).flatten(2) for grid in grids]
        if self.config.second:
            if encoded.second is None:
                raise ValueError("this connector reads a second encoder too; encode with `Captioner.encode`")
            rows.append(encoded.second)
        return average(torch.cat(rows, dim=2), self.config.pool)

    def read_steps(self, steps: Tensor, summary: Tensor) -> tuple[Tensor, Tensor | None]:
        """`read` of pooled time steps (B, t, inputs + further), of the layout concat, and one vector for the clip
        (B, D)."""
        normed = self.norm(self._scanned(steps[..., : self.config.inputs]))
        if self.scale is not None:
            earlier = self.scale(steps[..., self.config.inputs :].flatten(0, 1)).unflatten(0, steps.shape[:2])
            normed = torch.cat([normed, earlier], dim=2)
        return self._scored(self._vectors(normed), summary)

    def in_time(self, logits: Tensor) -> Tensor:
        """Of the logits of `read` (B, t + 1, labels), each label's probability in each time step (B, t, labels)."""
        return (logits[:, :-1] if self.summary is not None else logits).sigmoid()

    def reduced(self, vectors: Tensor) -> Tensor:
        """Time steps and summary (B, t + 1, E) with `reduction` steps averaged into one."""
        if self.summary is None:
            return average(vectors, self.config.reduction)
        return torch.cat([average(vectors[:, :-1], self.config.reduction), vectors[:, -1:]], dim=1)

    def _scanned(self, tokens: Tensor) -> Tensor:
        """Tokens (B, K, D), or time steps of f rows (B, t, f * D), after the scan."""
        if self.scan is None:
            return tokens
        width = self.config.encoder_width
        scanned = self.scan(tokens.unflatten(2, (-1, width)).flatten(1, 2))  # (B, K, D), time outside
        return scanned.reshape(tokens.shape)

    def _vectors(self, normed: Tensor) -> Tensor:
        """What is laid out (B, K, inputs) -> vectors (B, K * expand, E), those of one token in a row."""
        vectors: Tensor = self.mlp(normed)
        if self.expand is None:
            return vectors
        return self.expand(vectors).unflatten(2, (self.config.expand, -1)).flatten(1, 2)

    def _long(self, tokens: Tensor, index: Tensor, grid: tuple[int, int]) -> Tensor:
        """Tokens (B, K, D) at ascending cells (B, K) -> vectors (B, L, E) in the order of a long layout."""
        vectors = self._vectors(self.norm(self._scanned(tokens)))
        time, frequency = grid
        parts = torch.arange(self.config.expand, device=index.device)  # neighbours on a finer grid
        if self.config.layout == "time_major":
            cells, grid = index.unsqueeze(2) * self.config.expand + parts, (time, frequency * self.config.expand)
        else:
            step = (index // frequency).unsqueeze(2) * self.config.expand + parts
            cells, grid = step * frequency + (index % frequency).unsqueeze(2), (time * self.config.expand, frequency)
        return self._ordered(vectors, cells.flatten(1), grid)

    def _scored(self, vectors: Tensor, summary: Tensor) -> tuple[Tensor, Tensor | None]:
        """The prefix of vectors (B, t, E) and one vector for the clip (B, D), with the logits of their labels."""
        if self.resampler is not None:
            vectors = self.resampler(vectors)  # (B, queries, E)
        if self.summary is not None:
            vectors = torch.cat([vectors, self.summary(summary).unsqueeze(1)], dim=1)  # (B, t + 1, E)
        if not self.config.labels:
            return self.reduced(vectors), None
        logits = self.score(vectors)  # (B, t + 1, labels)
        return self.reduced(self.embed(logits.sigmoid()) + self.gate * vectors), logits

    def _ordered(self, vectors: Tensor, index: Tensor, grid: tuple[int, int]) -> Tensor:
        """Survivors (B, K, E) with separators spliced in between groups, ordered by one sort over grid keys."""
        assert self.separator is not None
        time, frequency = grid
        step, band = index // frequency, index % frequency
        if self.config.layout == "time_major":
            groups, size, key = time, frequency, step * (frequency + 1) + band
        else:
            groups, size, key = frequency, time, band * (time + 1) + step
        ends = torch.arange(groups - 1, device=index.device) * (size + 1) + size  # one free key after each group
        keys = torch.cat([key, ends.expand(key.shape[0], -1)], dim=1)
        separators = self.separator.to(vectors.dtype).expand(vectors.shape[0], groups - 1, -1)
        order = keys.argsort(dim=1).unsqueeze(-1).expand(-1, -1, vectors.shape[2])
        return torch.cat([vectors, separators], dim=1).gather(1, order)
