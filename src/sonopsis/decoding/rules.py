"""When a generated sequence ends, and which tokens it may take next. NumPy only, as the search that applies them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Rules:
    """What holds for every sequence of a search; `stops` are runs of token ids that end one and are no part of it.

    `min_new_tokens`: no stop before so many. `repetition_penalty` multiplies the log-probability of every token
    written before (above 1 discourages). `no_repeat_ngram`: no run of so many tokens is written twice (0: no limit).
    The prompt does not count for either: a caption may use the words of the question.
    """

    max_new_tokens: int
    length_penalty: float = 1.0
    stops: frozenset[tuple[int, ...]] = frozenset()
    forbid: frozenset[int] = frozenset()
    min_new_tokens: int = 0
    repetition_penalty: float = 1.0
    no_repeat_ngram: int = 0

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1 or not 0 <= self.min_new_tokens <= self.max_new_tokens:
            raise ValueError(
                f"max_new_tokens ({self.max_new_tokens}) must be at least 1, and min_new_tokens "
                f"({self.min_new_tokens}) between 0 and that"
            )
        if self.repetition_penalty <= 0:
            raise ValueError(f"repetition_penalty must be above 0 (1: none), not {self.repetition_penalty}")
        if self.no_repeat_ngram < 0:
            raise ValueError(f"no_repeat_ngram must be a number of tokens, or 0 for no limit: {self.no_repeat_ngram}")
        if () in self.stops:
            raise ValueError("a stop sequence needs at least one token")

    def check(self, vocabulary: int) -> None:
        """Raise ValueError for ids outside of the vocabulary, or if nothing is left to generate."""
        for name, ids in (("forbid_ids", self.forbid), ("stop_ids", {token for stop in self.stops for token in stop})):
            if outside := sorted(token for token in ids if not 0 <= token < vocabulary):
                raise ValueError(f"{name} {outside} lie outside of the vocabulary of {vocabulary}")
        never = self.forbid | (self._unfinishing([]) if self.min_new_tokens else frozenset())
        if len(never) == vocabulary:
            raise ValueError(f"all {vocabulary} ids are forbidden; nothing is left to generate")

    def score(self, logprobs: Floats, written: Sequence[Sequence[int]]) -> Floats:
        """Log-probabilities (R, V) of R sequences' next tokens -> what they are chosen by, -inf where not allowed."""
        scores = np.array(logprobs, copy=True)
        scores[:, self._forbid] = -np.inf
        for row, ids in enumerate(written):
            if self.repetition_penalty != 1:
                scores[row, list(set(ids))] *= self.repetition_penalty
            banned = self._unfinishing(ids) | self._repeating(ids)
            if banned:
                scores[row, list(banned)] = -np.inf
        return scores

    def stop_length(self, ids: Sequence[int]) -> int:
        """How many tokens at the end of `ids` are a stop, 0 if it goes on."""
        return max((len(stop) for stop in self._by_last.get(ids[-1], ()) if _ends(ids, stop)), default=0)

    def undecided(self, ids: Sequence[int]) -> int:
        """How many tokens at the end of `ids` may turn out to be the beginning of a stop."""
        longest = max((len(stop) - 1 for stop in self.stops), default=0)
        for size in range(min(longest, len(ids)), 0, -1):
            if any(len(stop) > size and _ends(ids, stop[:size]) for stop in self.stops):
                return size
        return 0

    @cached_property
    def _forbid(self) -> NDArray[np.int64]:
        return np.asarray(sorted(self.forbid), dtype=np.int64)

    @cached_property
    def _by_last(self) -> dict[int, list[tuple[int, ...]]]:
        found: dict[int, list[tuple[int, ...]]] = {}
        for stop in self.stops:
            found.setdefault(stop[-1], []).append(stop)
        return found

    def _unfinishing(self, ids: Sequence[int]) -> frozenset[int]:
        """Tokens that would end a sequence before `min_new_tokens`."""
        if len(ids) >= self.min_new_tokens + max((len(stop) - 1 for stop in self.stops), default=0):
            return frozenset()
        early = (stop for stop in self.stops if len(ids) + 1 - len(stop) < self.min_new_tokens)
        return frozenset(stop[-1] for stop in early if _ends(ids, stop[:-1]))

    def _repeating(self, ids: Sequence[int]) -> frozenset[int]:
        """Tokens that would complete a run of `no_repeat_ngram` for the second time."""
        size = self.no_repeat_ngram
        if not 0 < size <= len(ids):
            return frozenset()
        tail = list(ids[len(ids) - size + 1 :])
        starts = range(len(ids) - size + 1)
        return frozenset(ids[start + size - 1] for start in starts if list(ids[start : start + size - 1]) == tail)


def _ends(ids: Sequence[int], run: tuple[int, ...]) -> bool:
    return len(run) <= len(ids) and tuple(ids[len(ids) - len(run) :]) == run
