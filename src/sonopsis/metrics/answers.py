"""Answers to questions about composed scenes, whose facts decide what is right, by kind of question.

Beside each figure stands that of the answer which is right most often: who always says "yes" is right half of the time.
"""

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sonopsis.model import Model
from sonopsis.scenes.questions import KINDS, Question, ask_kind, askable
from sonopsis.scenes.render import render
from sonopsis.scenes.scene import Scene

RESAMPLES = 1000


class Asked(NamedTuple):
    """A question about a scene, by its number, and the answer of a model."""

    scene: int
    question: Question
    text: str


def questions_of(scene: Scene) -> list[Question]:
    """One question of each kind that the scene's facts answer, always the same."""
    return [
        ask_kind(scene.facts, kind, random.Random(f"{scene.id}/{kind}")) for kind in KINDS if askable(scene.facts, kind)
    ]


def ask_scenes(model: Model, scenes: Sequence[Scene], read_clip: Callable[[str], NDArray[np.float32]]) -> list[Asked]:
    """What a model answers to the questions about each scene; a scene is heard once."""
    asked = []
    for number, scene in enumerate(scenes):
        questions = questions_of(scene)
        answers = model.ask(render(scene, read_clip), [question.text for question in questions])
        asked += [Asked(number, *pair) for pair in zip(questions, (answer.text for answer in answers), strict=True)]
    return asked


def score_answers(asked: Sequence[Asked], *, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Any]:
    """The share of right answers by kind and over all questions, each with a 95 % bootstrap interval over scenes.

    {kind: {"questions", "accuracy", "interval", "majority"}}; majority is the share that one answer, the best for the
    kind, would have; of "all" it is the share when each kind gets its best. ValueError without any question.
    """
    if not asked:
        raise ValueError("there is no answer to score; give at least one")
    kinds: dict[str, list[Asked]] = defaultdict(list)
    for one in asked:
        kinds[one.question.kind].append(one)
    best = {kind: _majority(some) for kind, some in kinds.items()}
    found = {kind: _figures(kinds[kind], best[kind], resamples, seed) for kind in KINDS if kind in kinds}
    majority = sum(best[kind] * len(some) for kind, some in kinds.items()) / len(asked)
    return {"all": _figures(asked, majority, resamples, seed)} | found


def _majority(asked: Sequence[Asked]) -> float:
    """The highest share of questions that are answered by one and the same text."""
    texts = {one.question.answer for one in asked}
    return max(float(np.mean([one.question.answered_by(text) for one in asked])) for text in texts)


def _figures(asked: Sequence[Asked], majority: float, resamples: int, seed: int) -> dict[str, Any]:
    right = np.array([one.question.answered_by(one.text) for one in asked], np.float64)
    _, scene = np.unique([one.scene for one in asked], return_inverse=True)
    rights, counts = np.bincount(scene, right), np.bincount(scene)  # of each scene
    # RandomState: the one NumPy generator whose stream is promised never to change.
    drawn = np.random.RandomState(seed).randint(0, len(counts), size=(resamples, len(counts)))
    shares = rights[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    return {
        "questions": len(asked),
        "accuracy": float(right.mean()),
        "interval": [float(bound) for bound in np.percentile(shares, [2.5, 97.5])],
        "majority": majority,
    }
