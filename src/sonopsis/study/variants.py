"""What a study compares: ways to prune, each at the rate at which it costs as much as TopK at a given rate."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonopsis.cost import Macs, encoder_macs
from sonopsis.encoder.config import EncoderConfig
from sonopsis.pruning.config import Pruning, ReducerName, ScoreName, default_blocks, uniform

RATES = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4)
STEPS = 1000  # keep rates are solved to one in so many
MASSES = (0.999, 0.99, 0.97, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05)  # tried for "adaptive"
UNPRUNED = "unpruned"


@dataclass(frozen=True)
class Arm:
    """A way to prune, apart from how much."""

    name: str
    score: ScoreName | None
    reduce: ReducerName
    text: str


ARMS = (
    Arm("topk", None, "topk", "TopK: the patches with the highest score survive, by the encoder's own score"),
    Arm("fuse", None, "fuse", "TopK, and one token more for the mean of all that was dropped (EViT)"),
    Arm("merge", None, "merge", "the most similar patches become one (ToMe)"),
    Arm("value", "value", "topk", "TopK by attention times the length of the value (ATS)"),
    Arm("segment", None, "segment", "TopK in which every 8 time steps keep their share"),
    Arm("adaptive", None, "mass", "each clip keeps the fewest patches that hold a share of its score"),
    Arm("random", "random", "topk", "random patches, others for each clip: a baseline"),
    Arm("random columns", "random", "columns", "random time steps with all their patches: a baseline"),
)


@dataclass(frozen=True)
class Variant:
    """One arm at one cost."""

    arm: str
    keep_rate: float  # TopK at this rate executes as many MACs
    rate: float  # the arm's own rate; of "adaptive" the share of the score
    score: ScoreName | None
    reduce: ReducerName

    @property
    def name(self) -> str:
        """What files and tables call it, as "merge@0.7"."""
        return UNPRUNED if self.arm == UNPRUNED else f"{self.arm}@{self.keep_rate:g}"

    def pruning(self, depth: int, seed: int) -> Pruning | None:
        """The pruning at the default blocks of an encoder with `depth` blocks; `seed` is of random scores."""
        found = uniform(depth, self.rate, self.score, self.reduce)
        return None if found is None else replace(found, seed=seed)

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain JSON values."""
        return asdict(self)


NO_PRUNING = Variant(UNPRUNED, 1.0, 1.0, None, "topk")


class Costs:
    """MACs of variants for one encoder and head, counted once for each number of frames."""

    def __init__(self, config: EncoderConfig, labels: int) -> None:
        self.config, self.labels = config, labels
        self.macs = cache(self._macs)

    def _macs(self, frames: int, rate: float, score: ScoreName | None, reduce: ReducerName) -> Macs:
        """MACs in G of one window at a keep rate."""
        return encoder_macs(self.config, frames, uniform(self.config.depth, rate, score, reduce), self.labels)

    def of(self, variant: Variant, frames: int, counts: Sequence[int]) -> Macs:
        """MACs in G of one window in which `counts` patches survived the pruning blocks one after the other."""
        if variant.reduce != "mass":
            return self.macs(frames, variant.rate, variant.score, variant.reduce)
        time, frequency = self.config.grid(frames)
        keep, left = {}, time * frequency
        for block, count in zip(
            default_blocks(self.config.depth), counts, strict=False
        ):  # none of a last block for CLS
            keep[block] = count / left
            left = count
        return encoder_macs(self.config, frames, Pruning(keep, variant.score), self.labels)


def plan(
    costs: Costs, frames: Sequence[int], survivors: Callable[[Variant], list[list[int]]], rates: Sequence[float] = RATES
) -> tuple[list[Variant], list[str]]:
    """The variants of the trade-off at equal executed MACs on windows of so many `frames`, and notes.

    `survivors(variant)` runs the encoder on these windows and gives the patches left at each pruning block of each; it
    is asked for "adaptive" alone, whose cost only the recordings tell.
    """
    config, notes = costs.config, []
    arms = list(ARMS)
    if config.score != "cls":
        arms = [arm for arm in arms if arm.score != "value"]
        notes.append("value is left out: this encoder has no CLS token whose attention was trained")
    if config.grid(config.frames)[1] == 1:
        arms = [arm for arm in arms if arm.reduce != "columns"]
        notes.append(
            "a token of this encoder is a time step of 20 ms with all frequencies, not a patch, so random columns "
            "would be the same as random"
        )

    def mean_executed(score: ScoreName | None, reduce: ReducerName, rate: float) -> float:
        return float(np.mean([costs.macs(count, rate, score, reduce).executed for count in frames]))

    variants = [NO_PRUNING]
    targets = {rate: mean_executed(None, "topk", rate) for rate in rates}
    for arm in arms:
        solve = _by_mass(costs, frames, survivors, arm) if arm.reduce == "mass" else None
        for keep_rate, target in targets.items():
            rate: float | None
            if arm.name == "topk":
                rate = keep_rate
            elif solve is not None:
                rate = solve(target)
            else:
                rate = rate_for(partial(mean_executed, arm.score, arm.reduce), target)
            if rate is None:
                notes.append(f"{arm.name} cannot be as cheap as TopK at {keep_rate:g}")
            elif rate < 1:
                variants.append(Variant(arm.name, keep_rate, rate, arm.score, arm.reduce))
            else:
                notes.append(f"{arm.name} drops nothing at the cost of TopK at {keep_rate:g}")
    return variants, notes


def rate_for(cost: Callable[[float], float], target: float) -> float | None:
    """The rate, to one in STEPS, whose `cost`, which grows with it, is nearest to `target`.

    None when even the lowest rate costs over 2 % more.
    """
    low, high = 1, STEPS
    if cost(low / STEPS) > target:
        return low / STEPS if cost(low / STEPS) <= 1.02 * target else None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if cost(middle / STEPS) <= target else (low, middle)
    return min((low / STEPS, high / STEPS), key=lambda rate: abs(cost(rate) - target))


def _by_mass(
    costs: Costs, frames: Sequence[int], survivors: Callable[[Variant], list[list[int]]], arm: Arm
) -> Callable[[float], float | None]:
    """Solves for the share of the score that costs a target, between the shares of MASSES that were tried."""
    found: list[float] = []
    for mass in MASSES:
        variant = Variant(arm.name, mass, mass, arm.score, arm.reduce)
        counts = survivors(variant)
        found.append(float(np.mean([costs.of(variant, n, c).executed for n, c in zip(frames, counts, strict=True)])))
    cost: NDArray[np.float64] = np.minimum.accumulate(found)  # falls with the mass

    def solve(target: float) -> float | None:
        if not cost[-1] <= target:
            return None
        return round(float(np.interp(target, cost[::-1], MASSES[::-1])), 4)

    return solve
