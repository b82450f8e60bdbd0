"""BLEU, ROUGE-L and CIDEr-D are those of pycocoevalcap's pure-Python parts, of the same words."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sonopsis.metrics.captioning import bleu, cider_d, rouge_l

cider = pytest.importorskip("pycocoevalcap.cider.cider")
rouge = pytest.importorskip("pycocoevalcap.rouge.rouge")
bleu_module = pytest.importorskip("pycocoevalcap.bleu.bleu")

words = st.lists(st.sampled_from(["a", "dog", "cat", "barks", "then", "rain", "on"]), min_size=1, max_size=12)
sentences = words.map(" ".join)
corpora = st.lists(st.tuples(sentences, st.lists(sentences, min_size=1, max_size=5)), min_size=2, max_size=8)


@settings(max_examples=150)
@given(corpora)
@example([("dog", ["a dog barks on a cat"]), ("rain", ["rain"])])  # no match of two words
@example([("a a a a a", ["a", "a a"]), ("cat", ["cat cat", "cat"])])
def test_scores_are_those_of_pycocoevalcap(corpus: list[tuple[str, list[str]]]) -> None:
    captions, references = [caption for caption, _ in corpus], [others for _, others in corpus]
    ours = {i: [caption] for i, caption in enumerate(captions)}
    theirs = dict(enumerate(references))
    expected, _ = bleu_module.Bleu(4).compute_score(theirs, ours, verbose=0)
    assert bleu(captions, references) == pytest.approx(expected, abs=1e-6)
    _, each = rouge.Rouge().compute_score(theirs, ours)
    assert rouge_l(captions, references) == pytest.approx(each.tolist(), abs=1e-6)
    _, each = cider.Cider().compute_score(theirs, ours)
    assert cider_d(captions, references) == pytest.approx(each.tolist(), abs=1e-6)
