"""Greedy and beam search over any model that can read prompts, take one step, and reorder its states.

NumPy only, so that exported models generate without torch. Scores are log-probabilities of the whole vocabulary:
forbidding ids takes them out of the choice and leaves the probabilities of the others as the model gave them.
Equal probabilities go to the lower id, so results depend on the numbers of the model alone.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Ids = NDArray[np.int64]


class Stepper(Protocol):
    """A language model in the middle of a batch of sequences, B of them after `prefill`."""

    def prefill(self, prompts: Any) -> Floats:
        """Read the prompts, in whatever form the model takes, from the start; logits (B, V) of what follows each."""

    def step(self, ids: Ids) -> Floats:
        """Append one token to each sequence, ids (B,); logits (B, V) of what follows."""

    def reorder(self, rows: Ids) -> None:
        """Keep the sequences `rows` in that order, some perhaps repeated or left out: B becomes len(rows)."""


@dataclass(frozen=True)
class Hypothesis:
    """A generated sequence, without the stop token that ended it.

    `logprob` is the sum of its tokens' log-probabilities, the stop token's included; `score` is what hypotheses are
    ranked by, logprob / length ** length_penalty, hence the mean log-probability with the default penalty of 1.
    """

    ids: tuple[int, ...]
    score: float
    logprob: float


def search(
    stepper: Stepper,
    prompts: Any,
    *,
    max_new_tokens: int,
    beams: int = 1,
    length_penalty: float = 1.0,
    stop_ids: Collection[int] = (),
    forbid_ids: Collection[int] = (),
) -> list[list[Hypothesis]]:
    """For each prompt the hypotheses found, best first: one with `beams=1` (greedy), up to `beams` otherwise.

    A hypothesis ends before the first of `stop_ids` or after `max_new_tokens`. Raises ValueError when nothing
    can be generated: no beams, no new tokens, every id forbidden, ids outside of the vocabulary, logits not finite.
    """
    if max_new_tokens < 1 or beams < 1:
        raise ValueError(f"max_new_tokens ({max_new_tokens}) and beams ({beams}) must be at least 1")
    if beams == 1:
        return greedy(stepper, prompts, max_new_tokens, length_penalty, stop_ids, forbid_ids)
    return beam_search(stepper, prompts, max_new_tokens, beams, length_penalty, stop_ids, forbid_ids)


def greedy(
    stepper: Stepper,
    prompts: Any,
    max_new_tokens: int,
    length_penalty: float = 1.0,
    stop_ids: Collection[int] = (),
    forbid_ids: Collection[int] = (),
) -> list[list[Hypothesis]]:
    """The most probable next token, again and again; see `search`."""
    logits = stepper.prefill(prompts)
    forbid = _checked(forbid_ids, stop_ids, logits.shape[1])
    stop = np.asarray(sorted(stop_ids), dtype=np.int64)
    found: list[list[Hypothesis]] = [[] for _ in range(len(logits))]
    written: list[list[int]] = [[] for _ in found]
    logprobs = np.zeros(len(found))
    alive = np.arange(len(found))  # the prompt of each row that the model still holds
    for length in range(1, max_new_tokens + 1):
        choices = np.array(logits, copy=True)
        choices[:, forbid] = -np.inf
        ids = choices.argmax(axis=1).astype(np.int64)
        logprobs[alive] += np.take_along_axis(logits, ids[:, None], axis=1)[:, 0] - _log_total(logits)
        stopped = np.isin(ids, stop)
        for row, prompt in enumerate(alive):
            if not stopped[row]:
                written[prompt].append(int(ids[row]))
            if stopped[row] or length == max_new_tokens:
                found[prompt] = [_hypothesis(written[prompt], float(logprobs[prompt]), length, length_penalty)]
        going = np.flatnonzero(~stopped)
        if len(going) == 0 or length == max_new_tokens:
            break
        if len(going) < len(alive):
            stepper.reorder(going)
            alive, ids = alive[going], ids[going]
        logits = stepper.step(ids)
    return found


@dataclass
class _Beams:
    """The open sequences of one prompt, best first, and the finished ones."""

    size: int
    ids: list[list[int]] = field(default_factory=lambda: [[]])
    logprobs: Floats = field(default_factory=lambda: np.zeros(1))
    finished: list[Hypothesis] = field(default_factory=list)

    def finish(self, ids: list[int], logprob: float, length: int, length_penalty: float) -> None:
        self.finished.append(_hypothesis(ids, logprob, length, length_penalty))
        self.finished.sort(key=lambda hypothesis: -hypothesis.score)  # stable: the earlier one stays before its equals
        del self.finished[self.size :]

    def settled(self, length: int, length_penalty: float) -> bool:
        """Whether no open sequence, scored as it stands, beats the worst finished one.

        The usual rule. With a penalty above 0 a longer sequence might still have won; waiting for those costs several
        times the steps, and what wins that way is long rather than good.
        """
        if len(self.finished) < self.size:
            return False
        return bool(self.logprobs[0] / length**length_penalty <= self.finished[-1].score)


def beam_search(
    stepper: Stepper,
    prompts: Any,
    max_new_tokens: int,
    beams: int,
    length_penalty: float = 1.0,
    stop_ids: Collection[int] = (),
    forbid_ids: Collection[int] = (),
) -> list[list[Hypothesis]]:
    """The `beams` most probable open sequences at every length, until none beats those that ended; see `search`."""
    logits = stepper.prefill(prompts)
    forbid = _checked(forbid_ids, stop_ids, logits.shape[1])
    stop = frozenset(stop_ids)
    prompts_beams = [_Beams(beams) for _ in range(len(logits))]
    alive = list(prompts_beams)
    for length in range(1, max_new_tokens + 1):
        first = 0  # row of the prompt's first open sequence
        rows: list[int] = []
        tokens: list[int] = []
        going: list[_Beams] = []
        totals = _log_total(logits)
        for prompt in alive:
            last = first + len(prompt.ids)
            candidates = _candidates(
                logits[first:last], prompt.logprobs - totals[first:last], forbid, beams * (1 + len(stop))
            )
            opened: list[tuple[float, int, int]] = []
            for rank, (logprob, beam, token) in enumerate(candidates):
                ends = token in stop
                if rank < beams and (ends or length == max_new_tokens):
                    ids = prompt.ids[beam] + ([] if ends else [token])
                    prompt.finish(ids, logprob, length, length_penalty)
                elif not ends and len(opened) < beams:
                    opened.append((logprob, beam, token))
            if length < max_new_tokens and opened:
                prompt.ids = [[*prompt.ids[beam], token] for _, beam, token in opened]
                prompt.logprobs = np.array([logprob for logprob, _, _ in opened])
                if not prompt.settled(length, length_penalty):
                    going.append(prompt)
                    rows += [first + beam for _, beam, _ in opened]
                    tokens += [token for _, _, token in opened]
            first = last
        alive = going
        if not alive:
            break
        if rows != list(range(len(logits))):
            stepper.reorder(np.asarray(rows, dtype=np.int64))
        logits = stepper.step(np.asarray(tokens, dtype=np.int64))
    return [prompt.finished for prompt in prompts_beams]


def _candidates(logits: Floats, offsets: Floats, forbid: Ids, count: int) -> list[tuple[float, int, int]]:
    """The `count` best continuations (logprob, beam, token) of a prompt's open sequences, best first.

    logits (beams, V); offsets (beams,): the sequence's log-probability less the logarithm of its softmax's total.
    """
    scores = logits + offsets[:, None]
    scores[:, forbid] = -np.inf
    flat = scores.ravel()
    if count < flat.size:  # every value equal to the last one that fits, then the lowest beams and ids among them
        flat_indices = np.flatnonzero(flat >= np.partition(flat, flat.size - count)[flat.size - count])
    else:
        flat_indices = np.arange(flat.size)
    order = flat_indices[np.argsort(-flat[flat_indices], kind="stable")][:count]
    vocabulary = logits.shape[1]
    return [(float(flat[i]), int(i // vocabulary), int(i % vocabulary)) for i in order if np.isfinite(flat[i])]


def _log_total(logits: Floats) -> Floats:
    """The logarithm of the softmax's total, (B, V) -> (B,) float64."""
    top = logits.max(axis=1, keepdims=True)
    if not np.isfinite(top).all():
        raise ValueError("the model's logits are not finite; its weights or its input are broken")
    return top[:, 0].astype(np.float64) + np.log(np.exp(logits - top).sum(axis=1, dtype=np.float64))


def _hypothesis(ids: list[int], logprob: float, length: int, length_penalty: float) -> Hypothesis:
    return Hypothesis(tuple(ids), logprob / length**length_penalty, logprob)


def _checked(forbid_ids: Collection[int], stop_ids: Collection[int], vocabulary: int) -> Ids:
    for name, ids in (("forbid_ids", forbid_ids), ("stop_ids", stop_ids)):
        if outside := sorted(token for token in ids if not 0 <= token < vocabulary):
            raise ValueError(f"{name} {outside} lie outside of the vocabulary of {vocabulary}")
    forbid = np.asarray(sorted(set(forbid_ids)), dtype=np.int64)
    if len(forbid) == vocabulary:
        raise ValueError(f"all {vocabulary} ids are forbidden; nothing is left to generate")
    return forbid
