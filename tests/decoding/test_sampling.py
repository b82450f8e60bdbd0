"""Random continuations: the same for the same seed, and of the right distribution."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonopsis.decoding import DecodingOptions, Sampling, decode
from sonopsis.decoding.sampling import Floats


class Fixed:
    """Every token is drawn from one distribution."""

    def __init__(self, logits: Floats) -> None:
        self.logits = logits
        self.rows = 0

    def prefill(self, prompts: list[int]) -> Floats:
        return self.step(np.array(prompts))

    def step(self, ids: np.ndarray) -> Floats:
        self.rows = len(ids)
        return np.tile(self.logits, (self.rows, 1))

    def reorder(self, rows: np.ndarray) -> None:
        assert max(rows) < self.rows
        self.rows = len(rows)


LOGITS = np.array([2.0, 1.0, 0.5, 0.0, -1.0, -3.0], dtype=np.float32)


def probabilities(temperature: float = 1.0, kept: int = 6) -> Floats:
    weights = np.exp(LOGITS / temperature) * (np.arange(6) < kept)
    return weights / weights.sum()


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (Sampling(seed=1), probabilities()),
        (Sampling(temperature=0.5, seed=1), probabilities(0.5)),
        (Sampling(temperature=2.0, top_k=3, seed=1), probabilities(2.0, 3)),
        (Sampling(top_p=0.8, seed=1), probabilities(kept=3)),  # 0.56 and 0.21 do not reach 0.8, 0.13 more does
        (Sampling(top_k=4, top_p=0.57, seed=1), probabilities(kept=1)),  # 0.58 of the four, though only 0.56 of all
    ],
)
def test_frequencies(sampling: Sampling, expected: Floats) -> None:
    ids = decode(Fixed(LOGITS), [0], DecodingOptions(max_new_tokens=4000, sampling=sampling))[0][0].ids
    found = np.bincount(ids, minlength=6) / len(ids)
    assert np.abs(found - expected).max() < 4 * np.sqrt(0.25 / len(ids))
    assert not found[expected == 0].any()


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 999), top_k=st.integers(1, 12), top_p=st.floats(0.05, 1), banned=st.integers(0, 5))
def test_choices(seed: int, top_k: int, top_p: float, banned: int) -> None:
    scores = np.random.default_rng(seed).normal(size=10)
    scores[:banned] = -np.inf
    tokens, found = Sampling(top_k=top_k, top_p=top_p).choices(scores)
    assert found.sum() == pytest.approx(1) and 1 <= len(tokens) <= min(top_k, 10 - banned)
    best = np.argsort(-scores)[: len(tokens)]
    assert set(tokens) == set(best)
    allowed = np.sort(np.exp(scores[np.argsort(-scores)[: min(top_k, 10 - banned)]]))[::-1]
    share = np.cumsum(allowed) / allowed.sum()
    assert share[len(tokens) - 1] >= top_p - 1e-9
    assert len(tokens) == 1 or share[len(tokens) - 2] < top_p + 1e-9


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), top_p=st.floats(0.05, 0.999), spread=st.floats(0.1, 6))
def test_wide_and_narrow_nuclei_of_a_large_vocabulary(seed: int, top_p: float, spread: float) -> None:
    """The fewest most probable tokens that hold top_p, whether they are few or most of the vocabulary."""
    scores = spread * np.random.default_rng(seed).normal(size=1000)
    tokens, found = Sampling(top_p=top_p).choices(scores)
    order = np.argsort(-scores)
    share = np.cumsum(np.exp(scores[order]) / np.exp(scores).sum())
    assert tokens.tolist() == order[: 1 + np.flatnonzero(share >= top_p)[0]].tolist()
    assert found == pytest.approx(np.diff(share[: len(tokens)], prepend=0) / share[len(tokens) - 1])


def test_equal_scores_go_to_the_lower_ids() -> None:
    assert Sampling(top_k=2).choices(np.zeros(5))[0].tolist() == [0, 1]
    assert Sampling(top_p=0.3).choices(np.zeros(5))[0].tolist() == [0, 1]


@pytest.mark.parametrize("temperature", [1e-3, 1.0])
def test_cold_or_narrow_sampling_is_greedy(temperature: float) -> None:
    sampling = Sampling(temperature=temperature, top_k=None if temperature < 1 else 1)
    expected = decode(Fixed(LOGITS), [0, 1], DecodingOptions(max_new_tokens=5))
    assert decode(Fixed(LOGITS), [0, 1], DecodingOptions(max_new_tokens=5, sampling=sampling)) == expected


def test_seeds_and_samples() -> None:
    def draw(prompts: int = 1, **options: int) -> list[list[tuple[int, ...]]]:
        found = decode(
            Fixed(LOGITS), [0] * prompts, DecodingOptions(max_new_tokens=10, stop_ids=[2], sampling=Sampling(**options))
        )
        assert all([h.score for h in hs] == sorted((h.score for h in hs), reverse=True) for hs in found)
        return [[h.ids for h in hypotheses] for hypotheses in found]

    four = draw(samples=4, seed=3)
    assert draw(samples=4, seed=3) == four and draw(samples=4, seed=4) != four
    assert len(set(four[0])) == 4
    assert set(draw(samples=2, seed=3)[0]) < set(four[0])  # more samples leave the first ones as they are
    assert draw(prompts=3, samples=4, seed=3) == four * 3  # a prompt alone and among others


def test_scores_are_the_models_not_the_draws() -> None:
    hypothesis = decode(
        Fixed(LOGITS), [0], DecodingOptions(max_new_tokens=6, sampling=Sampling(temperature=3.0, top_k=4))
    )[0][0]
    logprobs = LOGITS - np.log(np.exp(LOGITS).sum())
    assert hypothesis.logprob == pytest.approx(sum(logprobs[list(hypothesis.ids)]), abs=1e-5)
    assert hypothesis.score == pytest.approx(hypothesis.logprob / 6)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"temperature": 0.0}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_k": 0}, "top_k"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_p": 1.1}, "top_p"),
        ({"samples": 0}, "samples"),
        ({"seed": -1}, "seed"),
    ],
)
def test_bad_sampling(options: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Sampling(**options)
