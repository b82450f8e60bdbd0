"""Prompts read by compiled kernels between the projections, beside torch."""

from collections.abc import Callable

import pytest
import torch

from sonopsis.mamba2 import Mamba2LM
from sonopsis.mamba2.kernels import language_model, threads

pytest.importorskip("numba")
ODD = {"width": 40, "head_dim": 10, "state": 12, "conv": 3, "vocab_size": 61}


WIDE = {"width": 48, "head_dim": 48}  # more than one vector in a row of the state


@pytest.mark.parametrize("sizes", [{}, {"groups": 2}, ODD, WIDE])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("length", [1, 5, 64, 65, 200])
def test_reads_as_torch_does(
    make_lm: Callable[..., Mamba2LM],
    sizes: dict[str, object],
    batch: int,
    length: int,
    assert_rounded: Callable[..., None],
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
        assert_rounded(found, theirs.prefill(ids, cache=other, lengths=lengths), lm)
        assert_rounded(cache.conv, other.conv, lm)
        assert_rounded(cache.ssm, other.ssm, lm)


@pytest.mark.slow  # compiles for bfloat16
@pytest.mark.parametrize("batch", [1, 3])
def test_reads_bfloat16_as_torch_does(make_lm: Callable[..., Mamba2LM], batch: int) -> None:
    """Activations are rounded at the same places; a few fall to the other side."""
    lm = make_lm(**WIDE)
    ours, theirs = (lm.prepare("bfloat16", kernels) for kernels in ("numba", "torch"))  # type: ignore[arg-type]
    ids = torch.randint(0, 61, (batch, 70), generator=torch.Generator().manual_seed(3))
    lengths = torch.tensor([70, 33, 1][:batch])
    cache, other = ours.new_cache(batch), theirs.new_cache(batch)
    found = ours.prefill(ids, cache=cache, lengths=lengths)
    expected = theirs.prefill(ids, cache=other, lengths=lengths)
    assert (found - expected).abs().max() < 0.03 * expected.abs().max()
    assert (cache.ssm - other.ssm).abs().max() < 0.03 * other.ssm.abs().max()


@pytest.mark.parametrize("borrowed", [True, False])
def test_threads_share_the_work(
    make_lm: Callable[..., Mamba2LM], monkeypatch: pytest.MonkeyPatch, borrowed: bool
) -> None:
    """Two threads, torch's or our own, come to what one comes to."""
    lm = make_lm(groups=2).prepare(kernels="numba")
    ids = torch.randint(0, 61, (2, 50), generator=torch.Generator().manual_seed(4))
    caches = lm.new_cache(2), lm.new_cache(2)
    expected = lm.prefill(ids, cache=caches[0])
    monkeypatch.setattr(language_model, "STATE_CHANGES_A_THREAD", 1)
    monkeypatch.setattr(language_model, "NUMBERS_A_THREAD", 1)
    if not borrowed:
        monkeypatch.setattr(threads, "_openmp", lambda: None)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        found = lm.prefill(ids, cache=caches[1])
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(caches[1].ssm, caches[0].ssm, atol=1e-6, rtol=0)
