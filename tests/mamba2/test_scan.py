"""Prompts read by compiled kernels between the projections, beside torch."""

from collections.abc import Callable

import pytest
import torch

from sonopsis.mamba2 import Mamba2LM

pytest.importorskip("numba")
ODD = {"width": 40, "head_dim": 10, "state": 12, "conv": 3, "vocab_size": 61}


@pytest.mark.parametrize("sizes", [{}, {"groups": 2}, ODD])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("length", [1, 5, 64, 65, 200])
def test_reads_as_torch_does(
    make_lm: Callable[..., Mamba2LM], sizes: dict[str, object], batch: int, length: int
) -> None:
    """The same logits and states, from the start and behind what was read before, rows padded or not."""
    lm = make_lm(**sizes)
    ours, theirs = (lm.prepare(kernels=kernels) for kernels in ("numba", "torch"))  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(length)
    cache, other = ours.new_cache(batch), theirs.new_cache(batch)
    ends = torch.randint(1, length + 1, (batch,), generator=generator)
    for lengths in (None, ends):
        ids = torch.randint(0, 61, (batch, length), generator=generator)
        found = ours.prefill(ids, cache=cache, lengths=lengths)
        torch.testing.assert_close(found, theirs.prefill(ids, cache=other, lengths=lengths), atol=5e-4, rtol=0)
        torch.testing.assert_close(cache.conv, other.conv, atol=5e-4, rtol=5e-4)
        torch.testing.assert_close(cache.ssm, other.ssm, atol=5e-4, rtol=5e-4)
