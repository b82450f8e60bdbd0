"""The keep rate over training."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonopsis.pruning import keep_rate_at


@pytest.mark.parametrize(("part", "rate"), [(0, 1.0), (0.25, 0.927), (0.5, 0.75), (0.75, 0.573), (1, 0.5)])
def test_published_values_for_base_one_half(part: float, rate: float) -> None:
    assert round(keep_rate_at(30 + 20 * part, base=0.5, start=30, length=20), 3) == rate


@given(st.floats(0.05, 1), st.floats(0, 50), st.floats(0.1, 50), st.floats(-10, 120), st.floats(0, 10))
def test_falls_from_one_to_base(base: float, start: float, length: float, epoch: float, later: float) -> None:
    rate = keep_rate_at(epoch, base, start, length)
    assert base <= rate <= 1
    assert keep_rate_at(epoch + later, base, start, length) <= rate
    assert keep_rate_at(start - 1e-6, base, start, length) == 1
    assert keep_rate_at(start + length, base, start, length) == base


def test_no_length_is_a_step() -> None:
    assert keep_rate_at(4.9, 0.7, start=5, length=0) == 1
    assert keep_rate_at(5.0, 0.7, start=5, length=0) == 0.7
