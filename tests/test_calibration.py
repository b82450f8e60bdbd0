"""From logits to probabilities, and what a sentence may name."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonopsis.calibration import Calibration, belief


def test_without_numbers_it_is_the_logistic_function() -> None:
    logits = np.array([-200.0, -1.0, 0.0, 3.0], np.float32)
    expected = [0.0, 1 / (1 + math.e), 0.5, 1 / (1 + math.exp(-3))]
    np.testing.assert_allclose(Calibration().probabilities(logits), expected, rtol=1e-6, atol=1e-12)
    assert Calibration().confidence(0.5, [0.5]) is None


@given(st.lists(st.floats(-30, 30), min_size=2, max_size=9), st.floats(0.05, 5), st.floats(-5, 5))
def test_the_order_of_labels_stays_as_it_is(logits: list[float], slope: float, offset: float) -> None:
    found = Calibration(slope, offset).probabilities(np.array(logits))
    assert (np.diff(found[np.argsort(logits, kind="stable")]) >= 0).all()
    assert ((found >= 0) & (found <= 1)).all()


def test_the_confidence_is_agreement_times_scores_where_nothing_is_to_be_corrected() -> None:
    plain = Calibration(sentence_slope=1.0, sentence_offset=0.0)
    assert plain.confidence(0.5, [0.8, 0.5]) == pytest.approx(0.5 * 0.8 * 0.5)
    assert plain.confidence(1.0, []) == pytest.approx(1.0, abs=1e-5)
    lower = Calibration(sentence_slope=1.0, sentence_offset=-1.0)
    assert lower.confidence(0.5, [0.8, 0.5]) == pytest.approx(1 / (1 + math.e * 4))  # the odds of 0.2 are 1 to 4


def test_the_belief_in_a_sentence_is_the_mean_score_of_what_it_names() -> None:
    scores = {"Dog": 0.5, "Cat": 0.1}
    assert belief(["Dog"], scores) == belief(["Dog", "Dog"], scores) == 0.5
    assert belief(["Dog", "Cat"], scores) == pytest.approx(0.3)
    assert belief(["Dog", "Rain"], scores) == 0.25  # a label that the model does not have
    assert belief([], scores) == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"slope": 0.0},
        {"slope": math.inf},
        {"offset": math.nan},
        {"grounding": -0.1},
        {"belief": 1.1},
        {"sentence_slope": 1.0},
    ],
)
def test_numbers_that_make_no_sense_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(fields))):
        Calibration.from_dict(fields)
