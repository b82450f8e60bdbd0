"""From a budget of computation to the keep rate that meets it."""

from typing import TYPE_CHECKING

from sonopsis.cost.macs import encoder_macs
from sonopsis.encoder.config import EncoderConfig
from sonopsis.pruning.config import Pruning, ReducerName, ScoreName, uniform

if TYPE_CHECKING:
    from sonopsis.pruning.scores import ScoreFunction

STEPS = 10_000  # keep rates are found to one in so many


def for_budget(
    config: EncoderConfig,
    frames: int | None = None,
    macs: float = 0.6,
    labels: int = 0,
    score: "ScoreName | ScoreFunction | None" = None,
    reduce: ReducerName = "topk",
) -> Pruning | None:
    """The gentlest uniform pruning whose reference MACs are at most a share `macs` of those without pruning.

    Counted for one clip of `frames` Mel frames (None: the encoder's own length) and a head of `labels`; None, which
    means no pruning, at 1. Raises ValueError when even one patch per block costs more, or `macs` is not in (0, 1].
    """
    if not 0 < macs <= 1:
        raise ValueError(f"a MAC budget must be a share over 0 and at most 1, not {macs}")

    def cost(step: int) -> float:
        return encoder_macs(config, frames, uniform(config.depth, step / STEPS, score, reduce), labels).reference

    whole = cost(STEPS)
    if cost(1) > macs * whole:
        raise ValueError(
            f"a share {macs:g} of the MACs cannot be met: with one patch left at each pruning block it is "
            f"{cost(1) / whole:.3f}; ask for more, or prune earlier blocks"
        )
    low, high = 1, STEPS + 1  # cost(low) fits; high does not, or is beyond 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if cost(middle) <= macs * whole else (low, middle)
    return uniform(config.depth, low / STEPS, score, reduce)
