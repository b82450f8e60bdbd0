"""Calibration: closed forms, and thresholds against a search over all of them."""

import numpy as np
import pytest
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from sonopsis.metrics.calibration import GRID, best_thresholds, f1_at, platt, reliability


def test_scores_that_are_probabilities_have_no_error() -> None:
    scores = np.repeat([0.25, 0.75], 100)
    right = np.r_[np.arange(100) < 25, np.arange(100) < 75]
    found = reliability(right, scores)
    assert found["ece"] == pytest.approx(0.0)
    assert [(row["low"], row["high"], row["count"]) for row in found["bins"]] == [(0.2, 0.3, 100), (0.7, 0.8, 100)]


def test_the_error_of_scores_that_are_too_high() -> None:
    found = reliability([True, False, False, False, True], [0.9, 0.9, 0.9, 0.9, 1.0])
    assert found["bins"] == [{"low": 0.9, "high": 1.0, "count": 5, "score": pytest.approx(0.92), "right": 0.4}]
    assert found["ece"] == pytest.approx(0.52)


clips = st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=1, max_size=30)


def test_labels_with_few_clips_have_about_the_threshold_of_all() -> None:
    rng = np.random.default_rng(0)
    targets = np.zeros((4000, 4))
    targets[np.arange(2400), np.arange(2400) % 2] = 1  # many clips of two labels, two of the third, none of the fourth
    targets[2400:2402, 2] = 1
    scores = np.clip(rng.normal(0.2 + 0.4 * targets, 0.1), 0, 1)
    scores[:, 1] *= 0.5  # the second label has lower scores
    first, second, few, none = best_thresholds(targets, scores)
    own = [max(GRID, key=lambda limit: f1_score(targets[:, i], scores[:, i] >= limit)) for i in range(2)]
    assert first == pytest.approx(own[0], abs=0.06) and second == pytest.approx(own[1], abs=0.06) and first > second
    pooled = [f1_at(targets.reshape(-1, 1), scores.reshape(-1, 1), [limit])["micro"] for limit in GRID]
    assert none >= float(GRID[int(np.argmax(pooled))])  # its own scores are all wrong ones, which asks for more
    assert few == pytest.approx(none, abs=0.1)
    found = f1_at(targets[:, :2], scores[:, :2], [first, second])
    shown = scores[:, :2] >= [first, second]
    for average in ("macro", "micro"):
        assert found[average] == pytest.approx(f1_score(targets[:, :2], shown, average=average))
    with pytest.raises(ValueError, match="have a label"):
        best_thresholds(np.zeros((3, 2)), np.ones((3, 2)))


def test_platt_finds_the_slope_and_offset_that_made_the_labels() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, 20_000)
    truth = rng.random(20_000) < 1 / (1 + np.exp(-(0.5 * logits - 1.0)))
    slope, offset = platt(truth, logits)
    assert slope == pytest.approx(0.5, abs=0.03) and offset == pytest.approx(-1.0, abs=0.06)
    assert platt(truth, 0.5 * logits - 1.0) == pytest.approx((1.0, 0.0), abs=0.06)


def test_platt_of_few_that_can_be_told_apart_stays_finite() -> None:
    slope, offset = platt([0, 1], [-1.0, 1.0])
    assert 1 < slope < 10 and abs(offset) < 1e-6
    assert platt([1, 0], [-9.0, 9.0])[0] > 0
