"""docs/results-captioning.md and its picture say what the runs in results/captioning/ say."""

import captioning_results
import numpy as np
import pytest
from captioning_arms import ARMS, CHOICE
from captioning_results import CLAIMS, NAMES, Measured

from sonopsis.metrics.events import event_counts, event_f1_of
from sonopsis.scenes.benchmark import load_benchmark


def test_the_page_is_what_the_runs_say() -> None:
    page = captioning_results.PAGE.read_text(encoding="utf-8")
    assert captioning_results.filled(page) == page, "run python scripts/captioning_results.py"


def test_the_picture_is_what_the_runs_say() -> None:
    assert captioning_results.picture() == captioning_results.PICTURE.read_text(encoding="utf-8")


def test_every_arm_has_a_name_and_a_table() -> None:
    assert list(NAMES.keys() ^ ARMS.keys()) == []
    assert {arm for claim in CLAIMS.values() for arm in claim.arms} == ARMS.keys()
    assert all(ARMS[name].family == family for family, (name, _) in CHOICE.items())


def test_runs_are_of_the_arms_that_are_there() -> None:
    """A run whose arm was changed afterwards must be trained again."""
    for arm, settings in ARMS.items():
        if (found := captioning_results.measured(arm)) is not None:
            for run in found.runs:
                assert run["configuration"]["steps"] == settings.steps
                assert run["configuration"]["keep_rate"] == settings.keep_rate
                assert len(run["captions"]) == run["scenes"]["test"]


def test_figures_by_hand() -> None:
    """Two seeds, one right of every scene and one wrong of every scene: their mean is half, one seed is all or none."""
    scenes = load_benchmark()[:8]
    right = event_counts(scenes, [scene.captions[0] for scene in scenes])
    wrong = right * [0.0, 1.0, 1.0]
    runs = [{"seed": 0}, {"seed": 1}]
    found = Measured(runs, np.array([[2.0] * 8, [1.0] * 8]), np.stack([right, wrong]))
    assert found.figures["cider"] == 1.5
    assert found.figures["f1"] == pytest.approx(float(event_f1_of(right.sum(axis=0))) / 2)
    drawn = found.drawn(captioning_results._weights(found))
    assert set(drawn["cider"].tolist()) == {1.0, 1.5, 2.0}  # both seeds the one, one of each, both the other
    assert drawn["f1"].min() == 0.0


def test_runs_are_compared_with_those_of_the_same_seed() -> None:
    runs = [{"seed": 0}, {"seed": 2}]
    two = Measured(runs, np.array([[2.0], [4.0]]), np.zeros((2, 1, 3)))
    one = Measured(runs[1:], np.array([[3.0]]), np.zeros((1, 1, 3)))
    assert two.beside(one).cider.tolist() == [[4.0]]
    assert one.beside(two).cider.tolist() == [[3.0]]
