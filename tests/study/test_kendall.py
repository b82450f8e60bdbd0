"""Pairs counted in N log N steps are those of a plain loop, and tau-b is that of scipy."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from sonopsis.study.kendall import Pairs, count_pairs

VALUES = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 4)), min_size=2, max_size=25)


@given(VALUES)
def test_counts_are_those_of_a_plain_loop(values: list[tuple[int, int]]) -> None:
    score, cluster = (np.array(part) for part in zip(*values, strict=True))
    found = count_pairs(score.astype(float), cluster)
    counts = dict.fromkeys("cdsyb", 0)
    agree = 0
    for i in range(len(values)):
        for j in range(i):
            x, y = score[i] - score[j], cluster[i] - cluster[j]
            counts["b" if x == y == 0 else "s" if x == 0 else "y" if y == 0 else "c" if x * y > 0 else "d"] += 1
            agree += 1 if x * y >= 0 else -1  # the paper's rule
    assert found.counts == list(counts.values())
    assert found.paper == pytest.approx(agree / found.total)
    theirs = kendalltau(score, cluster).statistic
    assert math.isnan(found.tau_b) if math.isnan(theirs) else found.tau_b == pytest.approx(theirs)


def test_clips_are_pooled_by_their_pairs() -> None:
    assert Pairs(3, 1, 0, 2, 1) + Pairs(1, 1, 1, 1, 1) == Pairs(4, 2, 1, 3, 2)
    assert (Pairs(3, 1) + Pairs(0, 4)).tau_a == pytest.approx(-2 / 8)


def test_unrelated_scores_look_related_where_ties_count_as_agreement() -> None:
    generator = np.random.default_rng(0)
    cluster = generator.choice(5, 3000, p=[0.094, 0.162, 0.262, 0.295, 0.187])  # shares of AudioSet's clusters
    found = count_pairs(generator.random(3000), cluster)
    assert abs(found.tau_a) < 0.03 and abs(found.tau_b) < 0.03
    assert found.paper == pytest.approx(0.23, abs=0.03)
