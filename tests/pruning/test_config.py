"""Which blocks prune and how many patches stay."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonopsis.pruning import Pruning, default_blocks, kept_count, uniform


@given(st.integers(1, 3000), st.integers(1, 1000))
def test_kept_count_is_the_exact_ceiling(patches: int, thousandths: int) -> None:
    assert kept_count(patches, thousandths / 1000) == math.ceil(Fraction(thousandths, 1000) * patches)


@given(st.integers(1, 3000), st.floats(1e-6, 1))
def test_kept_count_is_between_one_and_all(patches: int, rate: float) -> None:
    assert 1 <= kept_count(patches, rate) <= patches


def test_kept_count_at_the_hazard_of_plain_floats() -> None:
    assert math.ceil(0.55 * 100) == 56  # what a plain product gives
    assert kept_count(100, 0.55) == 55
    assert kept_count(180, 0.55) == 99
    assert kept_count(10, 0.1 + 0.2) == 3  # a rate that carries rounding itself


def test_default_blocks() -> None:
    assert default_blocks(12) == (3, 6, 9)
    assert default_blocks(8) == (2, 4, 6)
    assert default_blocks(2) == (0, 1)


def test_uniform_without_effect_is_no_pruning() -> None:
    assert uniform(12, None) is None
    assert uniform(12, 1.0) is None
    pruning = uniform(12, 0.7)
    assert pruning is not None and dict(pruning.keep) == {3: 0.7, 6: 0.7, 9: 0.7}


@pytest.mark.parametrize("rate", [0.0, -0.5, 1.01, math.nan])
def test_a_rate_outside_its_range_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match=r"must be in \(0, 1\]"):
        Pruning({3: rate})


def test_unknown_rules_and_blocks_are_refused() -> None:
    with pytest.raises(ValueError, match="score 'entropy' is unknown"):
        Pruning({3: 0.5}, score="entropy")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="reducer 'melt' is unknown"):
        Pruning({3: 0.5}, reduce="melt")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="count from 0"):
        Pruning({-1: 0.5})
