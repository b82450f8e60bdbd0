"""What makes a model's outputs honest: from logits to probabilities, and from drawn sentences to a confidence.

The numbers are chosen on validation recordings and are part of `config.json`, as are the thresholds of labels.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SURE = 1e-6  # a probability is kept so far from 0 and 1 before its logit is taken


@dataclass(frozen=True)
class Calibration:
    """Numbers chosen on validation recordings; raises ValueError for numbers that make no sense.

    The probability of a label is the logistic function of `slope` x logit + `offset` (Platt, 1999), the same two
    numbers for all labels, so the order of the labels stays as it is.
    """

    slope: float = 1.0
    offset: float = 0.0
    grounding: float = 0.0  # an answer may name a label with this share of the label's threshold or more
    belief: float = 0.0  # a sentence is said if the labels that it names have this mean score or more
    sentence_slope: float | None = None  # as `slope` and `offset`, for the confidence of a sentence
    sentence_offset: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.slope) and self.slope > 0 and math.isfinite(self.offset)):
            raise ValueError(f"slope must be over 0 and offset a number, not {self.slope!r} and {self.offset!r}")
        if not 0 <= self.grounding <= 1:
            raise ValueError(f"grounding must lie between 0 and 1, not {self.grounding!r}")
        if not 0 <= self.belief <= 1:
            raise ValueError(f"belief must lie between 0 and 1, not {self.belief!r}")
        if (self.sentence_slope is None) != (self.sentence_offset is None):
            raise ValueError("sentence_slope and sentence_offset belong together; give both or none")

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "Calibration":
        """The inverse of `dataclasses.asdict`; raises TypeError for unknown fields, ValueError as the class does."""
        return cls(**fields)

    def probabilities(self, logits: NDArray[np.floating]) -> NDArray[np.float32]:
        """Logits of any shape -> probabilities of the same shape."""
        return _logistic(self.slope * logits.astype(np.float64) + self.offset).astype(np.float32)

    def confidence(self, agreement: float, scores: Collection[float]) -> float | None:
        """How probably a sentence names only sounds that are there; None where that was not measured.

        `agreement` (0 to 1) is how much the other drawn sentences share with it, `scores` those of the labels named.
        """
        if self.sentence_slope is None or self.sentence_offset is None:
            return None
        evidence = sentence_evidence(agreement, scores)
        return float(_logistic(np.float64(self.sentence_slope * evidence + self.sentence_offset)))


def sentence_evidence(agreement: float, scores: Collection[float]) -> float:
    """The logit of agreement x the product of the named labels' scores, which is then calibrated."""
    probability = min(max(agreement * math.prod(scores), SURE), 1 - SURE)
    return math.log(probability / (1 - probability))


def belief(named: Collection[str], scores: Mapping[str, float]) -> float:
    """The mean score of the labels that a sentence names, 0 of a label without a score; 0 if it names none."""
    return sum(scores.get(label, 0.0) for label in set(named)) / max(len(set(named)), 1)


def _logistic(values: Any) -> Any:
    return 0.5 * (1 + np.tanh(0.5 * values))  # no overflow
