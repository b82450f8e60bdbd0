"""Keep rates of training: the paper's schedule, random rates, the rules that decide what is kept."""

import random

import pytest

from sonopsis.training.config import PruningConfig
from sonopsis.training.rates import training_pruning, validation_pruning


def rate(config: PruningConfig, progress: float) -> float:
    pruning = training_pruning(12, config, progress)
    if pruning is None:
        return 1.0
    assert list(pruning.keep) == [3, 6, 9] and len(set(pruning.keep.values())) == 1
    return pruning.keep[3]


def test_the_rate_shrinks_along_the_cosine_of_the_paper() -> None:
    """Values of the published code for base 0.5, at quarters of the shrinking phase (20 to 60 of 120 epochs)."""
    config = PruningConfig("cosine", 0.5, 20 / 120, 60 / 120)
    found = [rate(config, epoch / 120) for epoch in (0, 19, 20, 30, 40, 50, 60, 119)]
    assert found == pytest.approx([1.0, 1.0, 1.0, 0.927, 0.75, 0.573, 0.5, 0.5], abs=0.006)


def test_a_random_rate_lies_between_the_bound_and_one_and_reaches_both() -> None:
    random.seed(0)
    config = PruningConfig("random", 0.4, 0.0, 0.5)
    late = {rate(config, 0.9) for _ in range(300)}
    assert min(late) == 0.4 and max(late) == 1.0 and len(late) == 7
    assert {rate(config, 0.0) for _ in range(20)} == {1.0}
    assert min(rate(config, 0.25) for _ in range(300)) == 0.7


def test_a_low_rate_is_not_rounded_to_nothing() -> None:
    drawn, shrunk = PruningConfig("random", 0.004, 0.0, 0.0), PruningConfig("cosine", 0.004, 0.0, 0.0)
    for config, least in ((drawn, 0.1), (shrunk, 0.01)):
        pruning = training_pruning(12, config, 1.0, lambda low, high: low)
        assert pruning is not None and set(pruning.keep.values()) == {least}


def test_no_schedule_prunes_nothing() -> None:
    config = PruningConfig("none")
    assert training_pruning(12, config, 0.5) is None and validation_pruning(12, config) is None


def test_score_and_reducer_reach_training_and_validation() -> None:
    config = PruningConfig("cosine", 0.6, 0.0, 0.1, model_keep_rate=0.8, score="mean", reduce="fuse")
    for pruning, keep in ((training_pruning(12, config, 0.5), 0.6), (validation_pruning(12, config), 0.8)):
        assert pruning is not None
        assert (pruning.keep[6], pruning.score, pruning.reduce) == (keep, "mean", "fuse")


def test_random_patches_are_others_at_each_step() -> None:
    """The same state of the program gives the same patches, as a resumed run needs."""
    config = PruningConfig("cosine", 0.5, 0.0, 0.0, score="random")

    def seeds() -> list[int]:
        random.seed(3)
        found = [training_pruning(12, config, 0.5) for _ in range(4)]
        return [pruning.seed for pruning in found if pruning is not None]

    assert len(set(seeds())) == 4 and seeds() == seeds()
