"""Of several drawn captions, the one the others agree with most: minimum Bayes risk decoding (Eikema and Aziz, 2020).

The most probable sentence of a small model is often one that says too little: its words are few, and what it might have
gone on to name is spread over many phrasings. Drawn sentences name sounds as often as the model believes in them, and
the one that shares most with all of them, and names what the tags name, is a better guess (docs/log.md has the
measurements).
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

TEMPERATURE = 0.6  # at which captions are drawn for a consensus
LONGEST = 2  # tokens in a row that are compared; pairs know of order
TAG_WEIGHT = 2.0  # of agreement with the tags beside agreement with one another


def consensus(sequences: Sequence[Sequence[int]], support: Sequence[float] | None = None) -> int:
    """The place of the sequence with the highest mean F1 of single tokens and pairs against all sequences.

    `support` is added to it, a number for each sequence. The first of equals; raises ValueError when there is none.
    """
    if not sequences:
        raise ValueError("there is no sequence to choose from")
    grams = [_grams(sequence) for sequence in sequences]
    extra = [0.0] * len(grams) if support is None else support
    return max(range(len(grams)), key=lambda i: extra[i] + sum(_f1(grams[i], other) for other in grams) / len(grams))


def tag_support(named: Collection[str], scores: Mapping[str, float]) -> float:
    """`TAG_WEIGHT` times the F1 to expect of the labels a caption names, if `scores` are their probabilities."""
    right = sum(scores.get(label, 0.0) for label in set(named))
    return TAG_WEIGHT * 2 * right / max(len(named) + sum(scores.values()), 1e-9)


def _grams(sequence: Sequence[int]) -> Counter[tuple[int, ...]]:
    return Counter(
        tuple(sequence[start : start + length])
        for length in range(1, LONGEST + 1)
        for start in range(len(sequence) - length + 1)
    )


def _f1(a: Counter[tuple[int, ...]], b: Counter[tuple[int, ...]]) -> float:
    return 2 * (a & b).total() / max(1, a.total() + b.total())
