"""The pruning of a training step, of validation and of the saved model."""

import random
from collections.abc import Callable
from dataclasses import replace

from sonopsis.pruning import Pruning, uniform
from sonopsis.pruning.schedule import keep_rate_at
from sonopsis.training.config import PruningConfig

LAST_SEED = 2**31 - 1  # of random patches


def training_pruning(
    depth: int, config: PruningConfig, progress: float, draw: Callable[[float, float], float] = random.uniform
) -> Pruning | None:
    """What to prune when the share `progress` of the run is over (arXiv 2504.01690, section 3; see `PruningConfig`).

    Rates are rounded, to tenths or hundredths, because matrix products of each new shape are compiled first, which
    costs more than a product itself. `draw` gives a number between two others. The score "random" leaves other patches
    at each step: a model would learn to do with the places of one draw.
    """
    if config.schedule == "none":
        return None
    length = config.shrink_end - config.shrink_start
    rate = keep_rate_at(progress, config.keep_rate, config.shrink_start, length)
    rate = max(0.1, round(draw(rate, 1.0), 1)) if config.schedule == "random" else max(0.01, round(rate, 2))
    pruning = uniform(depth, rate, config.score, config.reduce)
    if pruning is None or config.score != "random":
        return pruning
    return replace(pruning, seed=int(draw(0, LAST_SEED)))


def validation_pruning(depth: int, config: PruningConfig) -> Pruning | None:
    """What validation prunes: the rate of the saved model, by the rules of training."""
    return uniform(depth, config.used_rate, config.score, config.reduce)
