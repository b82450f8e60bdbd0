"""Shares of right answers by kind, beside those of the answer that is right most often."""

import pytest

from sonopsis.metrics.answers import Asked, score_answers
from sonopsis.scenes.questions import Question, noun


def asked(scene: int, kind: str, right: str, text: str) -> Asked:
    return Asked(scene, Question(kind, "is it so?", right), text)  # type: ignore[arg-type]


ANSWERS = [
    asked(0, "presence", "yes", "yes"),
    asked(1, "presence", "no", "yes"),
    asked(2, "presence", "yes", "yes."),
    asked(0, "first", noun("Dog"), "a dog barking"),
    asked(1, "first", noun("Bell"), noun("Dog")),
]


def test_figures_of_each_kind_and_of_all() -> None:
    found = score_answers(ANSWERS)
    assert list(found) == ["all", "presence", "first"]
    assert found["presence"]["accuracy"] == pytest.approx(2 / 3) == found["presence"]["majority"]
    assert found["first"] == {"questions": 2, "accuracy": 0.5, "interval": [0.0, 1.0], "majority": 0.5}
    assert found["all"]["accuracy"] == pytest.approx(3 / 5) == found["all"]["majority"]
    low, high = found["all"]["interval"]
    assert 0 <= low <= 3 / 5 <= high <= 1


def test_scenes_are_resampled_as_wholes() -> None:
    """Twice the same questions about a scene tell nothing more, so the interval stays."""
    assert score_answers(ANSWERS)["all"]["interval"] == score_answers(ANSWERS * 2)["all"]["interval"]


def test_nothing_to_score_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        score_answers([])
