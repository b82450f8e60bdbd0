"""What a pruning block asks: given this attention, who survives?"""

from dataclasses import dataclass

from torch import Tensor

from sonopsis.pruning.config import Pruning, Reads
from sonopsis.pruning.merge import merge
from sonopsis.pruning.mix import Choice, fuse
from sonopsis.pruning.scores import (
    Candidates,
    ScoreFunction,
    attention_column,
    cell_noise,
    cls_row,
    patch_values,
    value_row,
)
from sonopsis.pruning.select import bands, by_mass, columns, topk, topk_by_segment
from sonopsis.pruning.survivors import Survivors


@dataclass
class Selector:
    """A score and a reducer, bound to one batch and to the patches that enter one block."""

    pruning: Pruning
    score: str | ScoreFunction  # the encoder's own rule if `pruning` names none
    survivors: Survivors
    block: int
    kept: int  # patches to keep (of "mass": the most)
    mel: Tensor  # (B, T, M) the encoder's input
    patch: tuple[int, int]  # frames and Mel bins of a patch
    stride: tuple[int, int]

    @property
    def reads(self) -> Reads:
        """Which attention weights the choice needs."""
        return self.pruning.reads(self.score)

    @property
    def mixes(self) -> bool:
        """Whether dropped patches live on in other tokens, so that their rows are needed."""
        return self.pruning.mixes

    def choose(self, weights: Tensor | None, k: Tensor, v: Tensor, y: Tensor, prefix: int) -> Choice:
        """Who survives, by attention weights (B, H, 1 or P + N, P + N), keys, values (B, H, P + N, D/H) and rows y."""
        frequency, reduce = self.survivors.grid[1], self.pruning.reduce
        if reduce == "merge":
            held = self.survivors
            return merge(k[:, :, prefix:], held.index, held.sizes(), held.grid, self.kept)
        score = self._scored(weights, v, y, prefix)  # (B, N)
        if reduce == "fuse":
            return fuse(score, self.kept, self.survivors.fused)
        if reduce == "mass":
            index, mask = by_mass(score, self.pruning.keep[self.block], self.survivors.mask)
            return Choice(index, None if bool(mask.all()) else mask)
        if reduce == "segment":
            return Choice(topk_by_segment(score, self.kept, self.survivors.index // frequency))
        if reduce == "columns":
            return Choice(columns(score, self.kept, frequency))
        if reduce == "bands":
            return Choice(bands(score, self.kept, self.survivors.grid[0]))
        return Choice(topk(score, self.kept))

    def _scored(self, weights: Tensor | None, v: Tensor, y: Tensor, prefix: int) -> Tensor:
        """The score (B, N) of every patch that entered the block."""
        if not isinstance(self.score, str):
            return self._called(self.score, y[:, prefix:])
        if weights is not None:
            if self.score == "cls":
                return cls_row(weights, prefix)
            if self.score == "value":
                return value_row(weights, v, prefix)
            return attention_column(weights, prefix, self.survivors.mask)
        if self.score == "random":
            cells = self.survivors.grid[0] * self.survivors.grid[1]
            return self.survivors.per_token(cell_noise(cells, self.pruning.seed, y.device).expand(y.shape[0], -1))
        values = patch_values(self.mel, self.patch, self.stride)
        return self.survivors.per_token(values.mean(dim=2) if self.score == "mean" else values.std(dim=2))

    def _called(self, function: ScoreFunction, tokens: Tensor) -> Tensor:
        held = self.survivors
        score = function(Candidates(tokens.detach(), held.index, held.sizes(), held.grid, self.mel))
        if not isinstance(score, Tensor) or score.shape != held.index.shape:
            got = tuple(score.shape) if isinstance(score, Tensor) else type(score).__name__
            raise ValueError(f"a score function must return a tensor {tuple(held.index.shape)}, not {got}")
        if not bool(score.isfinite().all()):
            raise ValueError("a score function returned values that are not finite; they cannot be ranked")
        return score.detach().float()
