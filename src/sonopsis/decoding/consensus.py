"""Of several sampled captions, the one that agrees most with the others: minimum Bayes risk decoding (Eikema and
Aziz, 2020).

The most probable sentence of a small model often says too little. Its words are few, and the probability of what else
it might name is spread over many phrasings. Sampled sentences name a sound as often as the model believes in it. The
sentence that shares most with all of them, and that names what the tags name, is a better guess (docs/log.md has the
measurements).
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import pairwise
from math import prod

CaptionParser = Callable[[str], Sequence[str]]  # a sentence -> the labels that it names, in the order of happening

TEMPERATURE = 0.6  # of the captions that are sampled for a consensus
LONGEST = 2  # tokens in a row that are compared; pairs of tokens carry the order of events
ORDER_WEIGHT = 0.5  # weight of the agreement of a sentence's order with when its labels begin
FAINTEST = 0.1  # least probability that a label must reach in some time step to have a beginning
APART = 2  # time steps between two beginnings that tell an order
TAG_WEIGHT = 4.0  # weight of the agreement with the tags beside the agreement with other captions
TRUTH_WEIGHT = 4.0  # weight of the probability that a sentence names only sounds that are there


def consensus(
    sequences: Sequence[Sequence[int]],
    support: Sequence[float] | None = None,
) -> int:
    """The index of the sequence with the highest mean F1 of single tokens and pairs against all sequences.

    `support`, one number for each sequence, is added to that mean. Of equal sequences the first is chosen.
    Raises ValueError when there is no sequence to choose.
    """
    if not sequences:
        raise ValueError("there is no sequence to choose from")
    grams = [_grams(sequence) for sequence in sequences]
    extra = [0.0] * len(grams) if support is None else support
    return max(range(len(grams)), key=lambda i: extra[i] + sum(_f1(grams[i], other) for other in grams) / len(grams))


def agreement(sequences: Sequence[Sequence[int]], place: int) -> float:
    """How much the sequence at `place` shares with all sequences, itself included: the mean F1, 0 to 1."""
    grams = _grams(sequences[place])
    return sum(_f1(grams, _grams(other)) for other in sequences) / len(sequences)


def tag_support(named: Collection[str], scores: Mapping[str, float]) -> float:
    """`TAG_WEIGHT` times the expected F1 of the labels that a caption names, and `TRUTH_WEIGHT` times the probability
    that all of them are there, if `scores` are their probabilities; 0 for a caption that names nothing.

    A label that is named twice counts as two claims.
    """
    if not named:
        return 0.0
    right = sum(scores.get(label, 0.0) for label in set(named))
    expected = 2 * right / max(len(named) + sum(scores.values()), 1e-9)
    return TAG_WEIGHT * expected + TRUTH_WEIGHT * prod(scores.get(label, 0.0) for label in named)


def beginnings(steps: Sequence[Sequence[float]], labels: Sequence[str]) -> dict[str, int]:
    """The time step in which each label begins, of probabilities (t, labels): the first one with half of its maximum.

    Labels that never reach FAINTEST are left out.
    """
    found = {}
    for label, track in zip(labels, zip(*steps, strict=True), strict=True):
        if (most := max(track)) >= FAINTEST:
            found[label] = next(step for step, score in enumerate(track) if score >= most / 2)
    return found


def order_support(named: Sequence[str], begins: Mapping[str, int]) -> float:
    """`ORDER_WEIGHT` times the mean over neighbours among the labels that a caption names, in its order of happening: 1
    if they begin in that order, -1 if in the other one, 0 if together or if one of them was not heard to begin."""
    pairs = list(pairwise(named))
    known = [begins[b] - begins[a] for a, b in pairs if a in begins and b in begins]
    return ORDER_WEIGHT * sum((gap >= APART) - (gap <= -APART) for gap in known) / max(len(pairs), 1)


def label_parser(labels: Collection[str]) -> CaptionParser:
    """A parser for labels without a word table: a sentence names a label if it holds the label's words in a row.

    Names such as "Chicken, rooster (bird)" hold several names: one of them is enough, without what is in brackets.
    """
    names = {label: [name.split() for name in re.sub(r"\(.*?\)", "", label.lower()).split(",")] for label in labels}

    def parse(text: str) -> list[str]:
        found = text.lower().replace(",", " ").replace(".", " ").split()
        places = {label: min(_places(found, run) for run in runs if run) for label, runs in names.items() if any(runs)}
        return sorted((label for label in places if places[label] < len(found)), key=places.__getitem__)

    return parse


def _places(words: list[str], run: list[str]) -> int:
    """Where the words of `run` begin to stand in a row; the number of words where they do not."""
    return next((start for start in range(len(words)) if words[start : start + len(run)] == run), len(words))


def _grams(sequence: Sequence[int]) -> Counter[tuple[int, ...]]:
    return Counter(
        tuple(sequence[start : start + length])
        for length in range(1, LONGEST + 1)
        for start in range(len(sequence) - length + 1)
    )


def _f1(a: Counter[tuple[int, ...]], b: Counter[tuple[int, ...]]) -> float:
    return 2 * (a & b).total() / max(1, a.total() + b.total())
