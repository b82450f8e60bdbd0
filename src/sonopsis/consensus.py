"""Of several drawn captions, the one the others agree with most: minimum Bayes risk decoding (Eikema and Aziz, 2020).

The most probable sentence of a small model is often one that says too little: its words are few, and what it might have
gone on to name is spread over many phrasings. Drawn sentences name sounds as often as the model believes in them, and
the one that shares most with all of them is a better guess (docs/log.md has the measurements).
"""

from collections import Counter
from collections.abc import Sequence

LONGEST = 2  # tokens in a row that are compared; pairs know of order


def consensus(sequences: Sequence[Sequence[int]]) -> int:
    """The place of the sequence with the highest mean F1 of single tokens and pairs against all sequences.

    The first of equals; raises ValueError when there is none.
    """
    if not sequences:
        raise ValueError("there is no sequence to choose from")
    grams = [_grams(sequence) for sequence in sequences]
    return max(range(len(grams)), key=lambda i: sum(_f1(grams[i], other) for other in grams))


def _grams(sequence: Sequence[int]) -> Counter[tuple[int, ...]]:
    return Counter(
        tuple(sequence[start : start + length])
        for length in range(1, LONGEST + 1)
        for start in range(len(sequence) - length + 1)
    )


def _f1(a: Counter[tuple[int, ...]], b: Counter[tuple[int, ...]]) -> float:
    return 2 * (a & b).total() / max(1, a.total() + b.total())
