"""Paired resamples: weights stand for repeated clips, groups stay whole."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sonopsis.metrics.tagging import mean_average_precision
from sonopsis.study.bootstrap import draws, interval, mean_average_precisions, means


@given(
    arrays(bool, (6, 3)),
    arrays(np.int8, (6, 3), elements=st.integers(-2, 2)),
    arrays(np.int16, (4, 6), elements=st.integers(0, 3)),
)
def test_weights_are_clips_that_stand_there_as_often(
    targets: np.ndarray, scores: np.ndarray, weights: np.ndarray
) -> None:
    found = mean_average_precisions(targets, scores, weights)
    for value, times in zip(found, weights, strict=True):
        chosen = np.repeat(np.arange(6), times)
        if targets[chosen].any():
            assert value == pytest.approx(mean_average_precision(targets[chosen], scores[chosen]))
        else:
            assert np.isnan(value)
    right = targets[:, 0]
    for value, times in zip(means(right, weights), weights, strict=True):
        assert np.isnan(value) if not times.any() else value == pytest.approx(np.repeat(right, times).mean())


def test_groups_are_drawn_whole_and_as_many_as_there_are() -> None:
    groups = ["a", "b", "a", "c", "b", "b"]
    times = draws(groups, resamples=200)
    assert (times[:, 0] == times[:, 2]).all() and (times[:, 1] == times[:, 4]).all()
    assert (times[:, [0, 1, 3]].sum(axis=1) == 3).all()
    assert np.array_equal(times, draws(groups, resamples=200))
    assert {tuple(row) for row in times[:, [0, 1, 3]]} > {(1, 1, 1), (0, 2, 1)}


def test_an_interval_holds_the_middle_95_percent_of_what_is_known() -> None:
    samples = np.r_[np.arange(1001) / 1000, np.full(50, np.nan)]
    assert interval(samples) == pytest.approx([0.025, 0.975])
    assert interval(np.full(3, np.nan)) is None
