"""When a generated sequence ends, and which tokens it may take next. NumPy only, as the search that applies them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonopsis.decoding.options import DecodingOptions

Floats = NDArray[np.floating[Any]]


class Rules:
    """`DecodingOptions` applied to sequences that are being generated."""

    def __init__(self, options: DecodingOptions) -> None:
        self.options = options
        self._stops = options.stops
        self._forbid = np.asarray(sorted({int(token) for token in options.forbid_ids}), dtype=np.int64)
        self._longest_stop = max((len(stop) for stop in self._stops), default=1)
        self._by_last: dict[int, list[tuple[int, ...]]] = {}  # stops by their last token
        for stop in self._stops:
            self._by_last.setdefault(stop[-1], []).append(stop)

    def check(self, vocabulary: int) -> None:
        """Raise ValueError for ids outside of the vocabulary, or if nothing is left to generate."""
        stops = {token for stop in self._stops for token in stop}
        for name, ids in (("forbid_ids", self._forbid.tolist()), ("stop_ids", stops)):
            if outside := sorted(token for token in ids if not 0 <= token < vocabulary):
                raise ValueError(f"{name} {outside} lie outside of the vocabulary of {vocabulary}")
        never = {*self._forbid.tolist(), *self._unfinishing([])}
        if len(never) == vocabulary:
            raise ValueError(f"all {vocabulary} ids are forbidden; nothing is left to generate")

    def score(self, logprobs: Floats, written: Sequence[Sequence[int]]) -> Floats:
        """Log-probabilities (R, V) of R sequences' next tokens -> what they are chosen by, -inf where not allowed."""
        scores = np.array(logprobs, copy=True)
        scores[:, self._forbid] = -np.inf
        for row, ids in enumerate(written):
            if self.options.repetition_penalty != 1:
                scores[row, list(set(ids))] *= self.options.repetition_penalty
            banned = self._unfinishing(ids) | self._repeating(ids)
            if banned:
                scores[row, list(banned)] = -np.inf
        return scores

    def stop_length(self, ids: Sequence[int]) -> int:
        """How many tokens at the end of `ids` are a stop, 0 if it goes on."""
        return max((len(stop) for stop in self._by_last.get(ids[-1], ()) if _ends(ids, stop)), default=0)

    def undecided(self, ids: Sequence[int]) -> int:
        """How many tokens at the end of `ids` may turn out to be the beginning of a stop."""
        for size in range(min(self._longest_stop - 1, len(ids)), 0, -1):
            if any(len(stop) > size and _ends(ids, stop[:size]) for stop in self._stops):
                return size
        return 0

    def _unfinishing(self, ids: Sequence[int]) -> frozenset[int]:
        """Tokens that would end a sequence before `min_new_tokens`."""
        if len(ids) >= self.options.min_new_tokens + self._longest_stop - 1:
            return frozenset()
        early = (stop for stop in self._stops if len(ids) + 1 - len(stop) < self.options.min_new_tokens)
        return frozenset(stop[-1] for stop in early if _ends(ids, stop[:-1]))

    def _repeating(self, ids: Sequence[int]) -> frozenset[int]:
        """Tokens that would complete a run of `no_repeat_ngram` for the second time."""
        size = self.options.no_repeat_ngram
        if not 0 < size <= len(ids):
            return frozenset()
        tail = list(ids[len(ids) - size + 1 :])
        starts = range(len(ids) - size + 1)
        return frozenset(ids[start + size - 1] for start in starts if list(ids[start : start + size - 1]) == tail)


def _ends(ids: Sequence[int], run: tuple[int, ...]) -> bool:
    return len(run) <= len(ids) and tuple(ids[len(ids) - len(run) :]) == run
