"""A MAC budget is met, and just met."""

from typing import Any

import pytest

from sonopsis.cost import encoder_macs, for_budget
from sonopsis.cost.budget import STEPS
from sonopsis.encoder import PRESETS
from sonopsis.pruning import Pruning, uniform


@pytest.mark.parametrize("preset", ["ast", "audiomae", "small"])
@pytest.mark.parametrize("share", [0.5, 0.6, 0.75, 0.9, 0.99])
@pytest.mark.parametrize("reduce", ["topk", "fuse", "merge"])
def test_the_rate_is_the_gentlest_within_the_budget(preset: str, share: float, reduce: Any) -> None:
    config = PRESETS[preset]
    pruning = for_budget(config, 512 if preset == "small" else None, share, labels=50, reduce=reduce)
    assert pruning is not None and pruning.reduce == reduce

    def cost(rate: Pruning | float | None) -> float:
        return encoder_macs(config, 512 if preset == "small" else None, rate, 50).reference

    (rate,) = set(pruning.keep.values())
    assert cost(pruning) <= share * cost(None)
    beyond = uniform(config.depth, round(rate + 1 / STEPS, 6), reduce=reduce)
    assert rate + 1 / STEPS > 1 or cost(beyond) > share * cost(None)


def test_the_published_trade_off() -> None:
    """35.7 % fewer MACs of AudioMAE belong to a keep rate of 0.7."""
    pruning = for_budget(PRESETS["audiomae"], macs=31.188 / 48.523, labels=527)
    assert pruning is not None and pruning.keep[3] == pytest.approx(0.7, abs=0.002)


def test_the_whole_budget_is_no_pruning_and_too_little_is_refused() -> None:
    assert for_budget(PRESETS["small"], macs=1.0) is None
    with pytest.raises(ValueError, match="cannot be met"):
        for_budget(PRESETS["small"], macs=0.1)
    for share in (0.0, 1.2):
        with pytest.raises(ValueError, match="over 0 and at most 1"):
            for_budget(PRESETS["small"], macs=share)
