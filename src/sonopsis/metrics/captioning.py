"""Captions against reference captions: BLEU-1 to BLEU-4, ROUGE-L and CIDEr-D, in plain Python.

The values are those of pycocoevalcap, of the same words.

Each function takes one caption and a list of references per clip. Published tools split words with a Java tokenizer;
here words are what is left of lower-case text without punctuation, which is the same for the captions of this project.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence

Words = list[str]
Grams = Counter[tuple[str, ...]]
Weighted = tuple[dict[tuple[str, ...], float], float]  # the weight of each n-gram of a text, and their norm

TINY, SMALL = 1e-15, 1e-9  # what pycocoevalcap adds to counts of matches and of n-grams

_WORD = re.compile(r"[a-z0-9]+(?:['-][a-z0-9]+)*")


def tokenize(text: str) -> Words:
    """Lower-case words without punctuation; hyphens and apostrophes inside a word stay."""
    return _WORD.findall(text.lower())


def bleu(captions: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[float, float, float, float]:
    """BLEU-1 ... BLEU-4 of the whole corpus, 0-1 (Papineni et al. 2002): clipped matches, closest reference length."""
    counts = bleu_counts(captions, references)
    return bleu_of([sum(column) for column in zip(*counts, strict=True)])


def bleu_counts(captions: Sequence[str], references: Sequence[Sequence[str]]) -> list[list[int]]:
    """What BLEU is made of, for each caption: n-grams that match (n = 1 ... 4), n-grams, words, and words of the
    reference of the closest length."""
    _check(captions, references)
    counts = []
    for caption, others in zip(captions, references, strict=True):
        words, reference_words = tokenize(caption), [tokenize(other) for other in others]
        matched, possible = [], []
        for n in range(1, 5):
            most: Grams = Counter()
            for other in reference_words:
                most |= _grams(other, n)
            grams = _grams(words, n)
            matched.append((grams & most).total())
            possible.append(grams.total())
        closest = min((abs(len(other) - len(words)), len(other)) for other in reference_words)[1]
        counts.append([*matched, *possible, len(words), closest])
    return counts


def bleu_of(counts: Sequence[float]) -> tuple[float, float, float, float]:
    """BLEU-1 ... BLEU-4 of sums of `bleu_counts`. As in pycocoevalcap, a little more than nothing always matches, so
    that a score without a match of four words is small and not 0."""
    matched, possible, (length, closest) = counts[:4], counts[4:8], counts[8:]
    ratio = (length + TINY) / (closest + SMALL)
    brevity = math.exp(1 - 1 / ratio) if ratio < 1 else 1.0
    scores, product = [], 1.0
    for n in range(4):
        product *= (matched[n] + TINY) / (possible[n] + SMALL)
        scores.append(brevity * product ** (1 / (n + 1)))
    return scores[0], scores[1], scores[2], scores[3]


def rouge_l(captions: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """ROUGE-L of each caption, 0-1: longest common subsequence, best precision and best recall, beta 1.2 (as COCO)."""
    _check(captions, references)
    scores = []
    for caption, others in zip(captions, references, strict=True):
        words = tokenize(caption)
        precision = recall = 0.0
        for other in map(tokenize, others):
            common = _common_subsequence(words, other)
            precision, recall = max(precision, common / max(len(words), 1)), max(recall, common / max(len(other), 1))
        scores.append(2.44 * precision * recall / (recall + 1.44 * precision) if precision and recall else 0.0)
    return scores


def cider_d(captions: Sequence[str], references: Sequence[Sequence[str]], sigma: float = 6.0) -> list[float]:
    """CIDEr-D of each caption, 0-10 (Vedantam et al. 2015): tf-idf of 1- to 4-grams, clipped, with a length penalty.

    How rare an n-gram is comes from these references: from the number of clips that have it in any reference. A corpus
    of one clip therefore scores 0. ValueError when captions and references are not as many.
    """
    return CiderD(references, sigma).scores(captions)


class CiderD:
    """CIDEr-D (`cider_d`) of several sets of captions of the same clips, whose references are counted once."""

    def __init__(self, references: Sequence[Sequence[str]], sigma: float = 6.0) -> None:
        self.references, self.sigma = references, sigma
        words = [[tokenize(other) for other in others] for others in references]
        self.clips_with: Grams = Counter()
        for others in words:
            self.clips_with.update({gram for other in others for n in range(1, 5) for gram in _grams(other, n)})
        self.lengths = [[len(other) for other in others] for others in words]
        self.known = [[self._weights(other) for other in others] for others in words]

    def scores(self, captions: Sequence[str]) -> list[float]:
        """The score of each caption; ValueError when there are not as many as references."""
        _check(captions, self.references)
        return [
            self._score(tokenize(caption), lengths, known)
            for caption, lengths, known in zip(captions, self.lengths, self.known, strict=True)
        ]

    def _score(self, words: Words, lengths: Sequence[int], known: Sequence[Sequence[Weighted]]) -> float:
        total = 0.0
        for n, (ours, our_norm) in enumerate(self._weights(words)):
            for length, reference in zip(lengths, known, strict=True):
                theirs, norm = reference[n]
                dot = sum(min(weight, theirs[gram]) * theirs[gram] for gram, weight in ours.items() if gram in theirs)
                if our_norm * norm > 0:
                    penalty = math.exp(-((len(words) - length) ** 2) / (2 * self.sigma**2))
                    total += dot / (our_norm * norm) * penalty
        return 10.0 * total / (4 * len(lengths))

    def _weights(self, words: Words) -> list[Weighted]:
        """The weight of each 1-, 2-, 3- and 4-gram, and their norm."""
        log_clips = math.log(len(self.references))
        found = []
        for n in range(1, 5):
            weights = {
                gram: k * (log_clips - math.log(max(self.clips_with[gram], 1))) for gram, k in _grams(words, n).items()
            }
            found.append((weights, math.sqrt(sum(weight * weight for weight in weights.values()))))
        return found


def _check(captions: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    if len(captions) != len(references) or not captions or not all(references):
        raise ValueError(
            f"give one caption and at least one reference for each clip; "
            f"got {len(captions)} captions for {len(references)} clips"
        )


def _grams(words: Words, n: int) -> Grams:
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def _common_subsequence(a: Words, b: Words) -> int:
    row = [0] * (len(b) + 1)
    for word in a:
        diagonal = 0
        for j, other in enumerate(b, 1):
            diagonal, row[j] = row[j], diagonal + 1 if word == other else max(row[j], row[j - 1])
    return row[-1]
