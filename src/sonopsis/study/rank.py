"""How many directions the tokens of a clip use, and how alike they are (arXiv 2509.15680, representation analysis).

The paper names a tau-effective rank without a formula; the definitions here are in docs/study.md.
"""

import numpy as np
import torch
from torch import Tensor

TAUS = (0.9, 0.95, 0.99)
FIGURES = (*(f"rank_{tau:g}" for tau in TAUS), *(f"rank_{tau:g}_centred" for tau in TAUS), "rank_entropy", "cosine")


def figures(tokens: Tensor) -> dict[str, float]:
    """The figures of the tokens (K, D) of one clip; NaN where there is no token, or a single one has no pair.

    `rank_tau` is the least number of squared singular values whose sum reaches the share tau of all of them, of the
    tokens and, centred, of the tokens less their mean. `rank_entropy` is exp(H(p)), where p are the singular values as
    shares of their sum. `cosine` is the mean cosine over all pairs of different tokens.
    """
    found = dict.fromkeys(FIGURES, float("nan"))
    if not len(tokens):
        return found
    tokens = tokens.double()
    singular = _singular_values(tokens)
    centred = _singular_values(tokens - tokens.mean(dim=0))
    for tau in TAUS:
        found[f"rank_{tau:g}"] = tau_rank(singular, tau)
        found[f"rank_{tau:g}_centred"] = tau_rank(centred, tau)
    found["rank_entropy"] = entropy_rank(singular)
    found["cosine"] = mean_cosine(tokens)
    return found


def tau_rank(singular: Tensor, tau: float) -> float:
    """The least k whose largest k squared singular values (R,), in descending order, reach a share; 0 of zeros."""
    energy = singular.square()
    total = energy.sum()
    if total == 0:
        return 0.0
    reached = energy.cumsum(0) >= tau * total * (1 - 1e-12)  # the sum of all is rounded otherwise than the total
    return float(np.argmax(reached.cpu().numpy()) + 1)


def entropy_rank(singular: Tensor) -> float:
    """exp of the entropy of singular values (R,) as shares of their sum; 0 of zeros (Roy and Vetterli, 2007)."""
    total = singular.sum()
    if total == 0:
        return 0.0
    shares = singular / total
    return float(torch.exp(-torch.special.xlogy(shares, shares).sum()))


def mean_cosine(tokens: Tensor) -> float:
    """The mean cosine of all pairs of different tokens (K, D), from the length of the sum of their directions.

    A token of zeros has no direction and counts as one that is alike to none.
    """
    count = len(tokens)
    if count < 2:
        return float("nan")
    directions = torch.nn.functional.normalize(tokens, dim=1)
    own = directions.square().sum()  # pairs of a token with itself
    return float((directions.sum(dim=0).square().sum() - own) / (count * (count - 1)))


def _singular_values(tokens: Tensor) -> Tensor:
    """Singular values (min(K, D),) in descending order, from the smaller of the two Gram matrices, which is faster.

    In float64, values under 1e-8 of the largest are rounding; no figure here can tell them from 0.
    """
    gram = tokens @ tokens.T if len(tokens) <= tokens.shape[1] else tokens.T @ tokens
    return torch.linalg.eigvalsh(gram).clamp(min=0).flip(0).sqrt()
