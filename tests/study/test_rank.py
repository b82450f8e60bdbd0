"""Ranks and cosines against NumPy's singular values and plain loops."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sonopsis.study.rank import FIGURES, TAUS, figures


def oracle(tokens: np.ndarray) -> dict[str, float]:
    def rank(matrix: np.ndarray, tau: float) -> int:
        energy = np.linalg.svd(matrix, compute_uv=False) ** 2
        return next(k for k in range(1, len(energy) + 1) if energy[:k].sum() >= tau * energy.sum() * (1 - 1e-9))

    singular = np.linalg.svd(tokens, compute_uv=False)
    shares = singular[singular > 0] / singular.sum()
    pairs = [
        float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
        for i, a in enumerate(tokens)
        for j, b in enumerate(tokens)
        if i != j
    ]
    return {
        **{f"rank_{tau:g}": rank(tokens, tau) for tau in TAUS},
        **{f"rank_{tau:g}_centred": rank(tokens - tokens.mean(0), tau) for tau in TAUS},
        "rank_entropy": math.exp(-(shares * np.log(shares)).sum()),
        "cosine": float(np.mean(pairs)),
    }


@given(count=st.integers(2, 12), width=st.integers(1, 12), seed=st.integers(0, 99), decay=st.floats(0, 2))
def test_figures_are_those_of_a_plain_decomposition(count: int, width: int, seed: int, decay: float) -> None:
    generator = np.random.default_rng(seed)
    tokens = generator.standard_normal((count, width)) * np.exp(-decay * np.arange(width)) + generator.random(width)
    assert figures(torch.from_numpy(tokens)) == pytest.approx(oracle(tokens), rel=1e-4, abs=1e-6)


def test_known_matrices() -> None:
    equal = figures(torch.ones(5, 8))
    assert equal["rank_0.99"] == 1 and equal["rank_0.9_centred"] == 0 and equal["cosine"] == pytest.approx(1)
    assert equal["rank_entropy"] == pytest.approx(1, abs=1e-4)
    apart = figures(torch.eye(10))
    assert [apart[f"rank_{tau:g}"] for tau in TAUS] == [9, 10, 10]
    assert apart["rank_entropy"] == pytest.approx(10) and apart["cosine"] == pytest.approx(0, abs=1e-12)
    nothing = figures(torch.zeros(3, 4))
    assert nothing["rank_0.9"] == nothing["rank_entropy"] == 0


def test_one_token_has_no_pair_and_no_token_no_figure() -> None:
    one = figures(torch.ones(1, 4))
    assert one["rank_0.9"] == 1 and math.isnan(one["cosine"])
    assert all(math.isnan(value) for value in figures(torch.ones(0, 4)).values()) and len(FIGURES) == 8
