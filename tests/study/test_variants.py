"""Arms at equal cost."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonopsis.cost import encoder_macs
from sonopsis.encoder import PRESETS
from sonopsis.pruning import uniform
from sonopsis.study.variants import MASSES, STEPS, Costs, Variant, plan, rate_for

FRAMES = [1024, 1024, 512]


def halves(costs: Costs) -> list[Variant]:
    """A plan for an encoder whose clips keep, of mass m, a share m² of the patches at each pruning block."""

    def survivors(variant: Variant) -> list[list[int]]:
        grids = [np.prod(costs.config.grid(frames)) for frames in FRAMES]
        return [[max(1, int(n * variant.rate ** (2 * stage))) for stage in (1, 2, 3)] for n in grids]

    return plan(costs, FRAMES, survivors)[0]


def test_every_arm_executes_as_much_as_topk() -> None:
    costs = Costs(PRESETS["ast"], 527)
    variants = halves(costs)
    assert {variant.arm for variant in variants} == {
        *("unpruned", "topk", "fuse", "merge", "value", "segment", "adaptive", "random", "random columns")
    }
    for variant in variants:
        if variant.reduce == "mass" or variant.arm == "unpruned":
            continue
        spent, wanted = (
            np.mean([encoder_macs(costs.config, n, uniform(12, rate, score, reduce), 527).executed for n in FRAMES])
            for rate, score, reduce in (
                (variant.rate, variant.score, variant.reduce),
                (variant.keep_rate, None, "topk"),
            )
        )
        coarse = 0.03 if variant.reduce == "columns" else 0.004  # whole columns
        assert spent == pytest.approx(wanted, rel=coarse), variant
    merge = {variant.keep_rate: variant.rate for variant in variants if variant.arm == "merge"}
    assert all(rate < keep_rate for keep_rate, rate in merge.items())  # it computes rows that TopK leaves out


def test_the_cost_of_a_mass_is_that_of_the_patches_it_left() -> None:
    costs = Costs(PRESETS["audiomae"], 10)
    adaptive = Variant("adaptive", 0.7, 0.9, None, "mass")
    topk = Variant("topk", 0.7, 0.7, None, "topk")
    assert costs.of(adaptive, 1024, [359, 252, 177]) == costs.of(topk, 1024, [])
    for variant in [variant for variant in halves(costs) if variant.arm == "adaptive"]:
        assert MASSES[-1] <= variant.rate <= MASSES[0]


def test_encoders_without_a_trained_cls_and_without_patches_have_fewer_arms() -> None:
    config = PRESETS["whisper-tiny"]
    variants, notes = plan(Costs(config, 10), [3000], lambda variant: [[1500, 1500, 1500]])
    assert {variant.arm for variant in variants} == {"unpruned", "topk", "fuse", "merge", "segment", "random"}
    assert any("20 ms" in note for note in notes) and any("CLS" in note for note in notes)
    assert any(note.startswith("adaptive cannot be as cheap") for note in notes)


@given(st.floats(0.01, 1), st.floats(0.5, 3))
def test_the_nearest_rate_is_found(target: float, power: float) -> None:
    def cost(rate: float) -> float:
        return rate**power

    found = rate_for(cost, target)
    best = min(abs(cost(step / STEPS) - target) for step in range(1, STEPS + 1))
    if found is None:
        assert cost(1 / STEPS) > 1.02 * target
    else:
        assert abs(cost(found) - target) == pytest.approx(best, abs=1e-12)
