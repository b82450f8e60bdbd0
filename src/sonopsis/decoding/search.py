"""Greedy search, sampling and beam search over any model that reads prompts, takes one step, and reorders its states.

NumPy only, so that exported models generate without torch. Scores are log-probabilities of the whole vocabulary:
forbidding ids takes them out of the choice and leaves the probabilities of the others as the model gave them.
Equal probabilities go to the lower id, so results depend on the numbers of the model alone.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sonopsis.decoding.options import DecodingOptions
from sonopsis.decoding.rules import Floats, Rules
from sonopsis.decoding.sampling import Sampling

Ids = NDArray[np.int64]
OnToken = Callable[[int, int], object]


class Stepper(Protocol):
    """A language model in the middle of a batch of sequences, B of them after `prefill`."""

    def prefill(self, prompts: Any) -> Floats:
        """Read the prompts, in whatever form the model takes, from the start; logits (B, V) of what follows each."""

    def step(self, ids: Ids) -> Floats:
        """Append one token to each sequence, ids (B,); logits (B, V) of what follows."""

    def reorder(self, rows: Ids) -> None:
        """Keep the sequences `rows` in that order, some perhaps repeated or left out: B becomes len(rows)."""


class ForkingStepper(Stepper, Protocol):
    """A stepper that can be copied: what it has read is read once, and continued in several ways."""

    def fork(self) -> "ForkingStepper":
        """An independent stepper that has read the same."""


@dataclass(frozen=True)
class Hypothesis:
    """A generated sequence, without the stop that ended it.

    `logprob` is the sum of its tokens' log-probabilities, the stop's included; `score` is what hypotheses are ranked
    by, that sum with repetition penalties counted / length ** length_penalty, hence the mean log-probability with the
    default penalties of 1.
    """

    ids: tuple[int, ...]
    score: float
    logprob: float


def decode(
    stepper: Stepper, prompts: Any, options: DecodingOptions, on_token: OnToken | None = None
) -> list[list[Hypothesis]]:
    """For each prompt the hypotheses found, best first: one (greedy), up to `beams`, or `sampling.samples`.

    A hypothesis ends before the first stop, after `max_new_tokens`, or when `on_token` asks for it. `on_token(prompt,
    token)` is called for each token as soon as it is known to be part of the result, and ends its prompt by returning
    something true; it needs one sequence per prompt. Raises ValueError when nothing can be generated: every id
    forbidden, ids outside of the vocabulary, logits not finite.
    """
    if on_token is not None and (options.beams > 1 or options.samples > 1):
        raise ValueError("on_token follows one sequence per prompt; leave out beams, and draw one sample")
    if options.beams > 1:
        return beam_search(stepper, prompts, options)
    if options.sampling is not None:
        return sample(stepper, prompts, options, on_token)
    return greedy(stepper, prompts, options, on_token)


def greedy(
    stepper: Stepper, prompts: Any, options: DecodingOptions, on_token: OnToken | None = None
) -> list[list[Hypothesis]]:
    """The most probable next token, again and again; see `decode`."""
    return _extend(stepper, prompts, options, lambda scores, _: int(scores.argmax()), on_token)


def sample(
    stepper: Stepper, prompts: Any, options: DecodingOptions, on_token: OnToken | None = None
) -> list[list[Hypothesis]]:
    """A next token drawn at random, again and again; see `decode`. Scores are those of the model, not of the draw."""
    sampling = Sampling() if options.sampling is None else options.sampling
    generators: dict[int, np.random.Generator] = {}

    def choose(scores: Floats, sequence: int) -> int:
        if sequence not in generators:
            generators.update(enumerate(sampling.generators(), sequence - sequence % sampling.samples))
        return sampling.draw(scores, generators[sequence])

    return _extend(stepper, prompts, options, choose, on_token)


def _extend(
    stepper: Stepper,
    prompts: Any,
    options: DecodingOptions,
    choose: Callable[[Floats, int], int],
    on_token: OnToken | None,
) -> list[list[Hypothesis]]:
    """`options.samples` sequences of each prompt, each extended by what `choose` takes of the scores (V,) for it."""
    rules, copies = Rules(options), options.samples
    logits = stepper.prefill(prompts)
    rules.check(logits.shape[1])
    if copies > 1:
        rows = np.repeat(np.arange(len(logits)), copies)
        stepper.reorder(rows)
        logits = logits[rows]
    sequences = [_Sequence(number // copies) for number in range(len(logits))]
    alive = list(range(len(sequences)))  # the sequence of each row that the model still holds
    for length in range(1, options.max_new_tokens + 1):
        logprobs = logits - _log_total(logits)[:, None]
        scores = rules.score(logprobs, [sequences[number].ids for number in alive])
        going: list[int] = []
        for row, number in enumerate(alive):
            sequence = sequences[number]
            if not np.isfinite(scores[row]).any():  # the rules leave nothing to write
                sequence.end(0, on_token)
                continue
            token = choose(scores[row], number)
            sequence.append(token, float(logprobs[row, token]), float(scores[row, token]))
            stopped = rules.stop_length(sequence.ids)
            if stopped or length == options.max_new_tokens:
                sequence.end(stopped, on_token)
            elif on_token is not None and sequence.emit(len(sequence.ids) - rules.undecided(sequence.ids), on_token):
                sequence.end(0, on_token)
            else:
                going.append(row)
        if not going:
            break
        if len(going) < len(alive):
            stepper.reorder(np.asarray(going, dtype=np.int64))
            alive = [alive[row] for row in going]
        logits = stepper.step(np.asarray([sequences[number].ids[-1] for number in alive], dtype=np.int64))
    found = [sequence.hypothesis(options.length_penalty) for sequence in sequences]
    return [
        sorted(found[first : first + copies], key=lambda hypothesis: -hypothesis.score)
        for first in range(0, len(found), copies)
    ]


@dataclass
class _Sequence:
    """One sequence being written for a prompt; `emitted` of its tokens have been passed on."""

    prompt: int
    ids: list[int] = field(default_factory=list)
    length: int = 0  # tokens generated, the stop's included
    logprob: float = 0.0
    score: float = 0.0
    emitted: int = 0

    def append(self, token: int, logprob: float, score: float) -> None:
        self.ids.append(token)
        self.length += 1
        self.logprob += logprob
        self.score += score

    def emit(self, count: int, on_token: OnToken) -> bool:
        """Pass on the tokens up to `count`; whether the callback wants no more."""
        enough = False
        while self.emitted < count:
            self.emitted += 1
            enough = bool(on_token(self.prompt, self.ids[self.emitted - 1])) or enough
        return enough

    def end(self, stopped: int, on_token: OnToken | None) -> None:
        """Drop the last `stopped` tokens and pass on what is left."""
        del self.ids[len(self.ids) - stopped :]
        if on_token is not None:
            self.emit(len(self.ids), on_token)

    def hypothesis(self, length_penalty: float) -> Hypothesis:
        return _hypothesis(self.ids, self.score, self.logprob, self.length, length_penalty)


@dataclass
class _Beams:
    """The open sequences of one prompt, best first, and the finished ones."""

    size: int
    ids: list[list[int]] = field(default_factory=lambda: [[]])
    scores: Floats = field(default_factory=lambda: np.zeros(1))  # what sequences compete by: see `Rules.score`
    logprobs: Floats = field(default_factory=lambda: np.zeros(1))
    finished: list[Hypothesis] = field(default_factory=list)

    def finish(self, hypothesis: Hypothesis) -> None:
        self.finished.append(hypothesis)
        self.finished.sort(key=lambda hypothesis: -hypothesis.score)  # stable: the earlier one stays before its equals
        del self.finished[self.size :]

    def settled(self, length: int, length_penalty: float) -> bool:
        """Whether no open sequence, scored as it stands, beats the worst finished one.

        The usual rule. With a penalty above 0 a longer sequence might still have won; waiting for those costs several
        times the steps, and what wins that way is long rather than good.
        """
        if len(self.finished) < self.size:
            return False
        return bool(self.scores[0] / length**length_penalty <= self.finished[-1].score)


def beam_search(stepper: Stepper, prompts: Any, options: DecodingOptions) -> list[list[Hypothesis]]:
    """The `beams` best open sequences at every length, until none beats those that ended; see `decode`."""
    rules, beams, penalty = Rules(options), options.beams, options.length_penalty
    logits = stepper.prefill(prompts)
    rules.check(logits.shape[1])
    prompts_beams = [_Beams(beams) for _ in range(len(logits))]
    alive = list(prompts_beams)
    for length in range(1, options.max_new_tokens + 1):
        first = 0  # row of the prompt's first open sequence
        rows: list[int] = []
        tokens: list[int] = []
        going: list[_Beams] = []
        totals = _log_total(logits)
        for prompt in alive:
            last = first + len(prompt.ids)
            logprobs = logits[first:last] - totals[first:last, None]  # (beams, V)
            scores = rules.score(logprobs, prompt.ids) + prompt.scores[:, None]
            opened: list[tuple[float, float, list[int]]] = []
            parents: list[int] = []
            candidates = _candidates(scores, beams * (1 + len(options.stops)))
            for rank, (score, beam, token) in enumerate(candidates):
                ids = [*prompt.ids[beam], token]
                logprob = float(prompt.logprobs[beam] + logprobs[beam, token])
                stopped = rules.stop_length(ids)
                if rank < beams and (stopped or length == options.max_new_tokens):
                    prompt.finish(_hypothesis(ids[: len(ids) - stopped], score, logprob, length, penalty))
                elif not stopped and len(opened) < beams:
                    opened.append((score, logprob, ids))
                    parents.append(first + beam)
            if not candidates:  # the rules leave nothing to write
                for ids, score, logprob in zip(prompt.ids, prompt.scores, prompt.logprobs, strict=True):
                    prompt.finish(_hypothesis(ids, float(score), float(logprob), length - 1, penalty))
            if length < options.max_new_tokens and opened:
                prompt.ids = [ids for _, _, ids in opened]
                prompt.scores = np.array([score for score, _, _ in opened])
                prompt.logprobs = np.array([logprob for _, logprob, _ in opened])
                if not prompt.settled(length, penalty):
                    going.append(prompt)
                    rows += parents
                    tokens += [ids[-1] for ids in prompt.ids]
            first = last
        alive = going
        if not alive:
            break
        if rows != list(range(len(logits))):
            stepper.reorder(np.asarray(rows, dtype=np.int64))
        logits = stepper.step(np.asarray(tokens, dtype=np.int64))
    return [prompt.finished for prompt in prompts_beams]


def _candidates(scores: Floats, count: int) -> list[tuple[float, int, int]]:
    """The `count` best continuations (score, beam, token) out of scores (beams, V), best first."""
    flat = scores.ravel()
    if count < flat.size:  # every value equal to the last one that fits, then the lowest beams and ids among them
        flat_indices = np.flatnonzero(flat >= np.partition(flat, flat.size - count)[flat.size - count])
    else:
        flat_indices = np.arange(flat.size)
    order = flat_indices[np.argsort(-flat[flat_indices], kind="stable")][:count]
    vocabulary = scores.shape[1]
    return [(float(flat[i]), int(i // vocabulary), int(i % vocabulary)) for i in order if np.isfinite(flat[i])]


def _log_total(logits: Floats) -> Floats:
    """The logarithm of the softmax's total, (B, V) -> (B,) float64."""
    top = logits.max(axis=1, keepdims=True)
    if not np.isfinite(top).all():
        raise ValueError("the model's logits are not finite; its weights or its input are broken")
    return top[:, 0].astype(np.float64) + np.log(np.exp(logits - top).sum(axis=1, dtype=np.float64))


def _hypothesis(ids: list[int], score: float, logprob: float, length: int, length_penalty: float) -> Hypothesis:
    return Hypothesis(tuple(ids), score / max(length, 1) ** length_penalty, logprob)
