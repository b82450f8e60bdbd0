"""Greedy and beam search over small language models whose every sequence can be enumerated."""

import itertools
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonopsis.decoding import DecodingOptions, Hypothesis, beam_search, decode, greedy

VOCABULARY = 5


class TableModel:
    """A second-order Markov model in NumPy: what follows depends on the last two tokens."""

    def __init__(self, seed: int, vocabulary: int = VOCABULARY, spread: float = 2.0) -> None:
        random = np.random.default_rng(seed)
        self.table = spread * random.standard_normal((vocabulary, vocabulary, vocabulary))
        self.rows: list[tuple[int, int]] = []
        self.sizes: list[int] = []  # batch of every step

    def prefill(self, prompts: list[tuple[int, int]]) -> np.ndarray:
        self.rows = list(prompts)
        return self._logits()

    def step(self, ids: np.ndarray) -> np.ndarray:
        assert ids.dtype == np.int64 and len(ids) == len(self.rows)
        self.rows = [(row[1], int(token)) for row, token in zip(self.rows, ids, strict=True)]
        self.sizes.append(len(ids))
        return self._logits()

    def reorder(self, rows: np.ndarray) -> None:
        self.rows = [self.rows[row] for row in rows]

    def _logits(self) -> np.ndarray:
        return np.stack([self.table[row] for row in self.rows])

    def logprobs(self, prompt: tuple[int, int], ids: tuple[int, ...]) -> list[float]:
        """The log-probability of each token, computed apart from the search."""
        found, row = [], prompt
        for token in ids:
            logits = self.table[row]
            found.append(float(logits[token] - np.log(np.exp(logits).sum())))
            row = (row[1], token)
        return found


def every_hypothesis(
    model: TableModel, prompt: tuple[int, int], length: int, stop: int, penalty: float
) -> list[Hypothesis]:
    """All sequences of at most `length` tokens that end in the stop token or at the limit, best first."""
    words = [token for token in range(VOCABULARY) if token != stop]
    found = []
    for size in range(length + 1):
        for ids in itertools.product(words, repeat=size):
            tokens = ids if size == length else (*ids, stop)
            total = sum(model.logprobs(prompt, tokens))
            found.append(Hypothesis(ids, total / len(tokens) ** penalty, total))
    return sorted(found, key=lambda hypothesis: -hypothesis.score)


@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.0, -0.5])
@pytest.mark.parametrize("seed", range(4))
def test_enough_beams_find_the_best_of_all(seed: int, penalty: float) -> None:
    """With room for every open sequence beam search is exact, n-best list included."""
    model, prompts = TableModel(seed), [(0, 1), (3, 3)]
    beams = (VOCABULARY - 1) ** 3 * 2
    found = beam_search(model, prompts, DecodingOptions(4, beams=beams, length_penalty=penalty, stop_ids=[2]))
    for prompt, hypotheses in zip(prompts, found, strict=True):
        expected = every_hypothesis(model, prompt, 4, 2, penalty)[:20]
        assert len(set(hypotheses)) == len(hypotheses)
        assert hypotheses[0].ids == expected[0].ids
        assert [h.score for h in hypotheses[:20]] == pytest.approx([h.score for h in expected])  # some are ties


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), beams=st.integers(1, 6), length=st.integers(1, 7), ends=st.integers(0, 2))
def test_beams(seed: int, beams: int, length: int, ends: int) -> None:
    """Scores are those of the model, sorted; one beam is greedy."""
    model, prompts, stop = TableModel(seed), [(0, 0), (1, 2), (4, 3)], tuple(range(ends))
    found = beam_search(model, prompts, DecodingOptions(length, beams=beams, stop_ids=stop))
    assert all(size <= len(prompts) * beams for size in model.sizes)
    greedily = greedy(model, prompts, DecodingOptions(length, stop_ids=stop))
    assert greedily == decode(model, prompts, DecodingOptions(max_new_tokens=length, stop_ids=stop))
    for prompt, hypotheses, (first,) in zip(prompts, found, greedily, strict=True):
        assert 1 <= len(hypotheses) <= beams
        assert [h.score for h in hypotheses] == sorted((h.score for h in hypotheses), reverse=True)
        if beams == 1:
            assert (hypotheses[0].ids, pytest.approx(hypotheses[0].logprob)) == (first.ids, first.logprob)
        for hypothesis in [*hypotheses, first]:
            assert len(hypothesis.ids) <= length and not set(hypothesis.ids) & set(stop)
            options = [hypothesis.ids] if len(hypothesis.ids) == length else [(*hypothesis.ids, s) for s in stop]
            totals = {round(sum(model.logprobs(prompt, tokens)), 9): len(tokens) for tokens in options}
            assert round(hypothesis.logprob, 9) in totals
            assert hypothesis.score == pytest.approx(hypothesis.logprob / totals[round(hypothesis.logprob, 9)])


def test_beams_find_more_probable_sequences_than_greedy() -> None:
    """Without a stop every hypothesis has one length; on average four beams must gain, and often."""
    gains = []
    for seed in range(60):
        model = TableModel(seed)
        best = beam_search(model, [(0, 0)], DecodingOptions(6, beams=4))[0][0]
        gains.append(best.score - greedy(model, [(0, 0)], DecodingOptions(6))[0][0].score)
    assert np.mean(gains) > 0.05 and np.mean(np.array(gains) >= -1e-9) > 0.95


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), beams=st.integers(1, 4))
def test_prompts_do_not_touch_each_other(seed: int, beams: int) -> None:
    """A batch gives what its prompts give alone, though they end at different lengths."""
    model, prompts = TableModel(seed), [(0, 0), (1, 2), (4, 3), (2, 2)]
    options = {"max_new_tokens": 9, "beams": beams, "stop_ids": (2,)}
    together = decode(model, prompts, DecodingOptions(**options))
    assert together == [decode(model, [prompt], DecodingOptions(**options))[0] for prompt in prompts]
    assert together == decode(model, prompts, DecodingOptions(**options))


def test_finished_prompts_are_not_stepped() -> None:
    model = TableModel(0)
    model.table[:] = -5.0
    model.table[0, 0, 2] = model.table[1, 1, 3] = model.table[1, 3, 3] = model.table[3, 3, 3] = 5.0
    found = greedy(model, [(0, 0), (1, 1)], DecodingOptions(4, stop_ids=[2]))
    assert [hypotheses[0].ids for hypotheses in found] == [(), (3, 3, 3, 3)]
    assert model.sizes == [1, 1, 1]  # the stopped prompt left the batch, and nothing is read after the last token


@pytest.mark.parametrize("beams", [1, 3])
def test_forbidden_ids(beams: int) -> None:
    for seed in range(10):
        model = TableModel(seed)
        found = decode(model, [(0, 0)], DecodingOptions(max_new_tokens=6, beams=beams, forbid_ids=(1, 4)))[0]
        for hypothesis in found:
            assert not {1, 4} & set(hypothesis.ids)
            assert hypothesis.logprob == pytest.approx(sum(model.logprobs((0, 0), hypothesis.ids)))
        stopped = decode(
            model, [(0, 0)], DecodingOptions(max_new_tokens=6, beams=beams, forbid_ids=(2,), stop_ids=(2,))
        )[0]
        assert len(stopped[0].ids) == 6


def test_equal_logits_go_to_the_lower_ids() -> None:
    model = TableModel(0)
    model.table[:] = 0.0
    assert greedy(model, [(0, 0)], DecodingOptions(3))[0][0].ids == (0, 0, 0)
    found = beam_search(model, [(0, 0)], DecodingOptions(2, beams=3))[0]
    assert [hypothesis.ids for hypothesis in found] == [(0, 0), (0, 1), (0, 2)]


def test_impossible_requests() -> None:
    model = TableModel(0)
    with pytest.raises(ValueError, match="at least 1"):
        decode(model, [(0, 0)], DecodingOptions(max_new_tokens=0))
    with pytest.raises(ValueError, match="at least 1"):
        decode(model, [(0, 0)], DecodingOptions(max_new_tokens=3, beams=0))
    with pytest.raises(ValueError, match="outside of the vocabulary"):
        decode(model, [(0, 0)], DecodingOptions(max_new_tokens=3, stop_ids=[VOCABULARY]))
    with pytest.raises(ValueError, match="are forbidden"):
        decode(model, [(0, 0)], DecodingOptions(max_new_tokens=3, forbid_ids=range(VOCABULARY)))
    model.table[0, 0, 1] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        decode(model, [(0, 0)], DecodingOptions(max_new_tokens=3))


@pytest.mark.parametrize("module", ["sonopsis.decoding.search", "sonopsis.mamba2.config", "sonopsis.mamba2"])
def test_imports_without_torch(module: str) -> None:
    script = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
