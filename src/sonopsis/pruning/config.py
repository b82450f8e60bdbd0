"""Which blocks drop patches, how many, and by which rule."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

SCORES = ("cls", "attention")
REDUCERS = ("topk",)


@dataclass(frozen=True)
class Pruning:
    """Keep a share of the patches at some blocks; rates multiply from block to block (arXiv 2504.01690, section 3).

    Raises ValueError on a rate outside (0, 1], a negative block, or an unknown rule.
    """

    keep: Mapping[int, float]  # block (0-based) -> share of the patches entering it that survive
    score: Literal["cls", "attention"] | None = None  # None: the encoder's own rule
    reduce: Literal["topk"] = "topk"

    def __post_init__(self) -> None:
        for block, rate in self.keep.items():
            if not 0 < rate <= 1:
                raise ValueError(f"keep rate of block {block} must be in (0, 1], not {rate}")
            if block < 0:
                raise ValueError(f"pruning blocks count from 0, not {block}")
        if self.score is not None and self.score not in SCORES:
            raise ValueError(f"pruning score {self.score!r} is unknown; choose one of {SCORES}, or None")
        if self.reduce not in REDUCERS:
            raise ValueError(f"pruning reducer {self.reduce!r} is unknown; choose one of {REDUCERS}")


def default_blocks(depth: int) -> tuple[int, ...]:
    """The pruning blocks of an encoder with `depth` blocks: 3, 6 and 9 of 12 (arXiv 2504.01690)."""
    return tuple(dict.fromkeys((depth // 4, depth // 2, 3 * depth // 4)))


def uniform(depth: int, keep_rate: float | None) -> Pruning | None:
    """The same keep rate at the default blocks; None, which means no pruning, at rate 1 or None."""
    if keep_rate is None or keep_rate == 1:
        return None
    return Pruning(keep=dict.fromkeys(default_blocks(depth), keep_rate))


def kept_count(patches: int, rate: float) -> int:
    """How many of `patches` survive: ceil(rate * patches), at least 1.

    The product is exact to 1e-9, so 0.55 of 100 is 55; in plain floating point 0.55 * 100 is a hair above 55 and the
    reference code keeps 56 there (of the multiples of 0.05, only 0.55 has such cases).
    """
    return max(1, math.ceil(rate * patches - 1e-9))
