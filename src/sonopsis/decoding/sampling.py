"""Drawing the next token at random, the same one for the same seed. NumPy only."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Ids = NDArray[np.int64]

NUCLEUS = 256  # tokens among which top_p is looked for first


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn: from the `top_k` most probable, then from the fewest of them that hold `top_p`.

    `temperature` divides the log-probabilities before: below 1 is bolder towards the probable. `samples` sequences
    are drawn for each prompt. The draws depend on `seed` and on the number of the sample, not on the rest of a batch,
    so a prompt continues the same alone and among others.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    samples: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(
                f"temperature must be above 0, not {self.temperature}; without sampling, the best token is taken"
            )
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k must be at least 1, not {self.top_k}; None keeps every token")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must lie in (0, 1], not {self.top_p}")
        if self.samples < 1 or self.seed < 0:
            raise ValueError(f"samples ({self.samples}) must be at least 1 and seed ({self.seed}) at least 0")

    def generators(self) -> list[np.random.Generator]:
        """The source of randomness of each sample of one prompt."""
        return [np.random.default_rng([self.seed, sample]) for sample in range(self.samples)]

    def choices(self, scores: Floats) -> tuple[Ids, Floats]:
        """The tokens that may be drawn, of scores (V,), and their probabilities, which sum to 1."""
        tokens = np.flatnonzero(np.isfinite(scores)).astype(np.int64)
        values = scores[tokens].astype(np.float64) / self.temperature
        if self.top_k is not None and self.top_k < len(tokens):
            best = _largest(values, self.top_k)
            tokens, values = tokens[best], values[best]
        probabilities = np.exp(values - values.max())
        probabilities /= probabilities.sum()
        if self.top_p < 1:
            order = _largest(probabilities, NUCLEUS)
            if probabilities[order].sum() < self.top_p:  # seldom: sorting a whole vocabulary takes as long as a step
                order = _largest(probabilities, len(probabilities))
            count = int(np.searchsorted(np.cumsum(probabilities[order]), self.top_p)) + 1
            tokens, probabilities = tokens[order[:count]], probabilities[order[:count]]
            probabilities /= probabilities.sum()
        return tokens, probabilities

    def draw(self, scores: Floats, generator: np.random.Generator) -> int:
        """One token of scores (V,)."""
        tokens, probabilities = self.choices(scores)
        place = np.searchsorted(np.cumsum(probabilities), generator.random(), side="right")
        return int(tokens[min(int(place), len(tokens) - 1)])  # the sum may fall short of 1 by rounding


def _largest(values: Floats, count: int) -> Ids:
    """Places of the `count` largest values, largest first; of equals, those that come first."""
    near = np.arange(len(values))
    if count < len(values):
        near = np.flatnonzero(values >= np.partition(values, len(values) - count)[len(values) - count])
    return near[np.argsort(-values[near], kind="stable")][:count]
