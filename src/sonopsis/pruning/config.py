"""Which blocks drop patches, how many, and by which rule."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from sonopsis.pruning.scores import ScoreFunction

ScoreName = Literal["cls", "attention", "value", "mean", "std", "random"]
ReducerName = Literal["topk", "fuse", "merge", "segment", "columns", "bands", "mass"]
SCORES = ("cls", "attention", "value", "mean", "std", "random")
Reads = Literal["row", "matrix", "nothing"]  # the attention weights that a score needs: those of CLS, all, or none
READS: dict[str, Reads] = {"cls": "row", "value": "row", "attention": "matrix"}
REDUCERS = ("topk", "fuse", "merge", "segment", "columns", "bands", "mass")
MIXING = ("fuse", "merge")  # reducers that make new tokens, so need every row of the attention's output


@dataclass(frozen=True)
class Pruning:
    """Keep a share of the patches at some blocks; rates multiply from block to block (arXiv 2504.01690, section 3).

    Scores and reducers are described, with what they cost, in docs/pruning.md. With the reducer "mass" a rate is the
    share of the score that the survivors of each clip must hold, and clips keep different numbers of patches.
    Raises ValueError on a rate outside (0, 1], a negative block, or an unknown rule.
    """

    keep: Mapping[int, float]  # block (0-based) -> share of the patches entering it that survive
    score: "ScoreName | ScoreFunction | None" = None  # None: the encoder's own rule
    reduce: ReducerName = "topk"
    seed: int = 0  # of the score "random"

    def __post_init__(self) -> None:
        for block, rate in self.keep.items():
            if not 0 < rate <= 1:
                raise ValueError(f"keep rate of block {block} must be in (0, 1], not {rate}")
            if block < 0:
                raise ValueError(f"pruning blocks count from 0, not {block}")
        if self.score is not None and self.score not in SCORES and not callable(self.score):
            raise ValueError(
                f"pruning score {self.score!r} is unknown; choose one of {SCORES}, a function of "
                "sonopsis.pruning.Candidates, or None"
            )
        if self.reduce not in REDUCERS:
            raise ValueError(f"pruning reducer {self.reduce!r} is unknown; choose one of {REDUCERS}")

    @property
    def mixes(self) -> bool:
        """Whether dropped patches live on in other tokens, so that their rows are needed."""
        return self.reduce in MIXING

    def reads(self, own: "str | ScoreFunction") -> Reads:
        """Which attention weights a pruning block computes to choose; `own` is the score where none is named."""
        score = own if self.score is None else self.score
        if self.reduce == "merge" or not isinstance(score, str):
            return "nothing"
        return READS.get(score, "nothing")

    def count(self, block: int, patches: int, grid: tuple[int, int]) -> int:
        """How many of the `patches` that enter a block survive it, a fused token not counted.

        Of "columns" and "bands" whole ones survive; of "mass" this is the most that can.
        """
        rate = self.keep.get(block, 1.0)
        whole = {"columns": grid[1], "bands": grid[0]}.get(self.reduce, 1)
        return kept_count(patches // whole, rate) * whole

    def prunes(self, block: int, patches: int, grid: tuple[int, int]) -> bool:
        """Whether any of the `patches` that enter a block is dropped there; if not, the block runs as if unnamed."""
        if self.reduce == "mass":  # also few patches may hold a mass: the clips of a batch must not decide for another
            return self.keep.get(block, 1.0) < 1
        return self.count(block, patches, grid) < patches


def default_blocks(depth: int) -> tuple[int, ...]:
    """The pruning blocks of an encoder with `depth` blocks: 3, 6 and 9 of 12 (arXiv 2504.01690)."""
    return tuple(dict.fromkeys((depth // 4, depth // 2, 3 * depth // 4)))


def uniform(
    depth: int,
    keep_rate: float | None,
    score: "ScoreName | ScoreFunction | None" = None,
    reduce: ReducerName = "topk",
) -> Pruning | None:
    """The same keep rate at the default blocks; None, which means no pruning, at rate 1 or None."""
    if keep_rate is None or keep_rate == 1:
        return None
    return Pruning(dict.fromkeys(default_blocks(depth), keep_rate), score, reduce)


def kept_count(patches: int, rate: float) -> int:
    """How many of `patches` survive: ceil(rate * patches), at least 1.

    The product is exact to 1e-9, so 0.55 of 100 is 55; in plain floating point 0.55 * 100 is a hair above 55 and the
    reference code keeps 56 there (of the multiples of 0.05, only 0.55 has such cases).
    """
    return max(1, math.ceil(rate * patches - 1e-9))


def merge_rounds(patches: int, kept: int) -> list[tuple[int, int]]:
    """The rounds of matching from `patches` tokens down to `kept`: (tokens that enter, pairs merged)."""
    found = []
    while patches > kept:
        pairs = min(patches - kept, patches // 2)
        found.append((patches, pairs))
        patches -= pairs
    return found
