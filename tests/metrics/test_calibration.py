"""Calibration: closed forms, and thresholds against a search over all of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from sonopsis.metrics.calibration import best_threshold, best_thresholds, f1_at, platt, reliability


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


@given(clips.filter(lambda pairs: any(right for right, _ in pairs)))
def test_no_threshold_is_better_than_the_best(pairs: list[tuple[bool, int]]) -> None:
    right, scores = np.array([pair[0] for pair in pairs]), np.array([pair[1] / 20 for pair in pairs])
    best = max(f1_score(right, scores >= threshold) for threshold in scores)
    found = best_threshold(right, scores)
    assert f1_score(right, scores >= found) == pytest.approx(best)
    assert 0 <= found <= 1


def test_a_threshold_lies_between_the_scores_that_it_divides() -> None:
    assert best_threshold([1, 1, 0, 0], [0.9, 0.6, 0.2, 0.1]) == pytest.approx(0.4)
    near = best_threshold([1, 0], [0.50002, 0.50001])
    assert 0.50001 < near <= 0.50002


def test_labels_with_few_clips_share_a_threshold() -> None:
    targets = np.array([[1, 0], [1, 0], [1, 1], [0, 0]])
    scores = np.array([[0.9, 0.1], [0.8, 0.1], [0.7, 0.5], [0.2, 0.3]])
    own, common = best_thresholds(targets, scores)
    assert own == pytest.approx(0.45)
    assert common == pytest.approx(best_threshold(targets.ravel(), scores.ravel()))
    found = f1_at(targets, scores, [own, common])
    assert found == {
        "macro": pytest.approx(f1_score(targets, scores >= [own, common], average="macro")),
        "micro": pytest.approx(f1_score(targets, scores >= [own, common], average="micro")),
    }


@pytest.mark.parametrize(
    ("right", "scores", "said"),
    [
        ([], [], "not empty"),
        ([True], [0.1, 0.2], "not empty"),
        ([True], [1.5], "between 0 and 1"),
        ([0], [0.5], "positive"),
    ],
)
def test_what_cannot_be_measured_is_told(right: list[bool], scores: list[float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        best_threshold(right, scores)


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
