import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from sonopsis.metrics.tagging import (
    accuracy,
    average_precision,
    balanced_accuracy,
    mean_average_precision,
)


@st.composite
def scored(draw: st.DrawFn) -> tuple[list[int], list[float]]:
    """Targets with both kinds, and scores with many ties."""
    size = draw(st.integers(2, 30))
    targets = draw(st.lists(st.integers(0, 1), min_size=size, max_size=size).filter(lambda t: 0 < sum(t) < len(t)))
    scores = draw(st.lists(st.sampled_from([-2.0, 0.0, 0.25, 0.5, 0.75, 3.0]), min_size=size, max_size=size))
    return targets, scores


@settings(deadline=None)
@given(scored())
def test_one_class_agrees_with_scikit_learn(case: tuple[list[int], list[float]]) -> None:
    targets, scores = case
    assert average_precision(targets, scores) == pytest.approx(metrics.average_precision_score(targets, scores))


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcde")), min_size=1, max_size=40))
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true", "ignore:A single label was found")
def test_accuracies_agree_with_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    truth, predicted = zip(*pairs, strict=True)
    assert accuracy(truth, predicted) == pytest.approx(metrics.accuracy_score(truth, predicted))
    assert balanced_accuracy(truth, predicted) == pytest.approx(metrics.balanced_accuracy_score(truth, predicted))


def test_classes_without_positives_are_left_out_of_the_mean() -> None:
    rng = np.random.default_rng(0)
    targets, scores = rng.integers(0, 2, (40, 5)), rng.random((40, 5))
    targets[:, 3] = 0
    kept = [0, 1, 2, 4]
    expected = metrics.average_precision_score(targets[:, kept], scores[:, kept], average="macro")
    assert mean_average_precision(targets, scores) == pytest.approx(expected)


def test_arguments_that_cannot_be_scored_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one positive"):
        average_precision([0, 0], [0.1, 0.2])
    with pytest.raises(ValueError, match=r"two arrays \(clips,\); got \(2,\) and \(3,\)"):
        average_precision([0, 1], [0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match="NaN"):
        average_precision([0, 1], [0.1, math.nan])
    with pytest.raises(ValueError, match=r"\(clips, labels\)"):
        mean_average_precision([0, 1], [0.1, 0.2])
    with pytest.raises(ValueError, match="no class has a positive"):
        mean_average_precision(np.zeros((2, 3)), np.zeros((2, 3)))
    with pytest.raises(ValueError, match="not empty"):
        balanced_accuracy([], [])
