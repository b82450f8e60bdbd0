import math
from collections import Counter
from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonopsis.metrics.captioning import bleu, cider_d, rouge_l, tokenize

CAPTIONS = ["a dog barks twice", "rain falls on a tin roof", "a door"]
REFERENCES = [
    ["a dog barks", "the dog is barking loudly"],
    ["rain falls on a roof", "it is raining on a tin roof"],
    ["a door closes slowly", "someone shuts a door"],
]

words = st.lists(st.sampled_from(["a", "dog", "cat", "barks", "then", "rain"]), min_size=1, max_size=9).map(" ".join)
corpora = st.lists(st.tuples(words, st.lists(words, min_size=1, max_size=3)), min_size=2, max_size=6)


def test_words() -> None:
    assert tokenize("A Hi-Hat, then: a dog's bark!") == ["a", "hi-hat", "then", "a", "dog's", "bark"]
    assert tokenize(" -- ") == []


def test_bleu_by_hand() -> None:
    # Lengths: 4 (closest 3), 6 (closest 5), 2 (closest 4): 12 words for 12, so no brevity penalty.
    # Unigrams: 3 of 4, 6 of 6, 2 of 2; bigrams: 2 of 3, 5 of 5, 1 of 1.
    # "a tin roof" and "rain falls on a": trigrams 1 of 2, 4 of 4 (on a tin is in the second), none of 0.
    # Four words: 0 of 1; "rain falls on a", "on a tin roof" of 3.
    scores = bleu(CAPTIONS, REFERENCES)
    p1, p2, p3, p4 = 11 / 12, 8 / 9, 5 / 6, 2 / 4
    assert scores[0] == pytest.approx(p1)
    assert scores[1] == pytest.approx(math.sqrt(p1 * p2))
    assert scores[2] == pytest.approx((p1 * p2 * p3) ** (1 / 3))
    assert scores[3] == pytest.approx((p1 * p2 * p3 * p4) ** (1 / 4))


def test_bleu_counts_a_word_no_more_often_than_a_reference_and_punishes_brevity() -> None:
    assert bleu(["the the the the"], [["the cat is the one", "a cat"]])[0] == pytest.approx(2 / 4 * math.exp(1 - 5 / 4))
    assert bleu(["a dog"], [["a dog barks at night"]])[:2] == pytest.approx((math.exp(1 - 5 / 2),) * 2)
    # No three and no four words: 1e-15 of 1e-9 takes the place of a match, as in pycocoevalcap.
    three, four = 1e-6 ** (1 / 3) * math.exp(1 - 5 / 2), 1e-12 ** (1 / 4) * math.exp(1 - 5 / 2)
    assert bleu(["a dog"], [["a dog barks at night"]])[2:] == pytest.approx((three, four))
    assert bleu([""], [["a dog"]]) == (0.0, 0.0, 0.0, 0.0)


def test_rouge_by_hand() -> None:
    # Against "a dog barks": 3 common of 4 and of 3; against the other: 1 ("dog") of 4 and of 5.
    precision, recall = 3 / 4, 3 / 3
    expected = (1 + 1.2**2) * precision * recall / (recall + 1.2**2 * precision)
    assert rouge_l(CAPTIONS, REFERENCES)[0] == pytest.approx(expected)
    assert rouge_l(["rain falls"], [["a door closes"]]) == [0.0]
    assert rouge_l([""], [["a door closes"]]) == [0.0]


def published_cider_d(captions: list[str], references: list[list[str]]) -> list[float]:
    """Equations 1 to 4 of Vedantam et al. (2015), with the clipping of CIDEr-D, on dense vectors."""
    scores = np.zeros(len(captions))
    for n in (1, 2, 3, 4):

        def count(text: str, n: int = n) -> Counter[str]:
            return Counter(" ".join(text.split()[i : i + n]) for i in range(len(text.split()) - n + 1))

        grams = sorted({gram for text in [*captions, *chain(*references)] for gram in count(text)})
        in_clips = np.array([sum(any(gram in count(r) for r in rs) for rs in references) for gram in grams])
        rarity = np.log(len(references) / np.maximum(in_clips, 1))

        def vector(text: str) -> np.ndarray:
            return np.array([count(text)[gram] for gram in grams]) * rarity  # noqa: B023

        for i, (caption, others) in enumerate(zip(captions, references, strict=True)):
            for other in others:
                ours, theirs = vector(caption), vector(other)
                norms = np.linalg.norm(ours) * np.linalg.norm(theirs)
                penalty = np.exp(-((len(caption.split()) - len(other.split())) ** 2) / (2 * 6.0**2))
                if norms:
                    scores[i] += 10 / 4 / len(others) * penalty * (np.minimum(ours, theirs) @ theirs) / norms
    return scores.tolist()


@settings(max_examples=60, deadline=None)
@given(corpora)
def test_cider_agrees_with_the_published_formula(corpus: list[tuple[str, list[str]]]) -> None:
    captions, references = [caption for caption, _ in corpus], [list(others) for _, others in corpus]
    assert cider_d(captions, references) == pytest.approx(published_cider_d(captions, references), abs=1e-9)


def test_cider_by_hand() -> None:
    # Two clips; each gram is in one of them, so all weights are log 2 per count and cancel.
    # Unigrams: 2 of 3 words in common, norms sqrt 3; bigrams: 1 in common, norms sqrt 2; longer: none; equal lengths.
    scores = cider_d(["one two four", "x"], [["one two three"], ["five six seven"]])
    assert scores == pytest.approx([10 / 4 * (2 / 3 + 1 / 2), 0.0])


@settings(max_examples=60, deadline=None)
@given(corpora)
def test_the_reference_itself_scores_best(corpus: list[tuple[str, list[str]]]) -> None:
    captions, references = [caption for caption, _ in corpus], [others[:1] for _, others in corpus]
    copied = [others[0] for others in references]
    for ours, best in zip(cider_d(captions, references), cider_d(copied, references), strict=True):
        assert 0 <= ours <= best + 1e-9 <= 10 + 2e-9
    assert rouge_l(copied, references) == pytest.approx([1.0] * len(copied))
    assert bleu(copied, references)[0] == pytest.approx(1.0)
    assert all(0 <= score <= 1 + 1e-12 for score in [*bleu(captions, references), *rouge_l(captions, references)])


def test_a_rare_caption_copied_scores_ten() -> None:
    texts = ["one two three four", "five six seven eight"]
    assert cider_d(texts, [[text] for text in texts]) == pytest.approx([10.0, 10.0])


def test_captions_without_references_are_refused() -> None:
    for score in (bleu, rouge_l, cider_d):
        with pytest.raises(ValueError, match="got 1 captions for 2 clips"):
            score(["a dog"], [["a dog"], ["a cat"]])
        with pytest.raises(ValueError, match="at least one reference"):
            score(["a dog"], [[]])
