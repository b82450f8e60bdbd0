"""Every choice about decoding, in one place. NumPy only, as the search that follows them."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sonopsis.decoding.sampling import Sampling

STEEPEST = 10.0  # length penalty; a longer sequence's length to a higher power overflows


@dataclass(frozen=True)
class DecodingOptions:
    """How sequences are generated; raises ValueError for values that contradict each other or allow nothing.

    The prompt does not count for the two rules about repetition: a caption may use the words of the question.
    """

    max_new_tokens: int
    beams: int = 1  # beam width; 1: greedy search, or sampling
    sampling: Sampling | None = None  # draw tokens at random instead of taking the most probable
    length_penalty: float = 1.0  # hypotheses are ranked by log-probability / length ** length_penalty
    stop_ids: Collection[int] = ()  # tokens that end a sequence and are no part of it
    stop_sequences: Collection[Sequence[int]] = ()  # runs of tokens that do the same
    min_new_tokens: int = 0  # no stop is allowed before so many tokens
    forbid_ids: Collection[int] = ()  # tokens that are never generated
    repetition_penalty: float = 1.0  # multiplies the log-probability of tokens generated before; above 1 discourages
    no_repeat_ngram: int = 0  # no run of so many tokens is generated twice; 0: no limit

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1 or not 0 <= self.min_new_tokens <= self.max_new_tokens:
            raise ValueError(
                f"max_new_tokens ({self.max_new_tokens}) must be at least 1, and min_new_tokens "
                f"({self.min_new_tokens}) between 0 and that"
            )
        if self.beams < 1:
            raise ValueError(f"beams ({self.beams}) must be at least 1")
        if self.beams > 1 and self.sampling is not None:
            raise ValueError("beam search does not sample; leave out beams or sampling")
        if not (math.isfinite(self.length_penalty) and abs(self.length_penalty) <= STEEPEST):
            raise ValueError(
                f"length_penalty must lie between {-STEEPEST:g} and {STEEPEST:g}, not {self.length_penalty}"
            )
        if self.repetition_penalty <= 0:
            raise ValueError(f"repetition_penalty must be above 0 (1: none), not {self.repetition_penalty}")
        if self.no_repeat_ngram < 0:
            raise ValueError(f"no_repeat_ngram must be a number of tokens, or 0 for no limit: {self.no_repeat_ngram}")
        if any(len(run) == 0 for run in self.stop_sequences):
            raise ValueError("a stop sequence needs at least one token")

    @property
    def stops(self) -> frozenset[tuple[int, ...]]:
        """The runs of tokens that end a sequence: `stop_ids` and `stop_sequences` together."""
        runs = [tuple(int(token) for token in run) for run in self.stop_sequences]
        return frozenset([*((int(token),) for token in self.stop_ids), *runs])

    @property
    def samples(self) -> int:
        """How many sequences are drawn for each prompt; 1 without sampling."""
        return 1 if self.sampling is None else self.sampling.samples
