"""The chunked scan and the single step against the recurrence written out."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sonopsis.mamba2.ssd import ssd_chunked, ssd_outputs, ssd_reference, ssd_step

HEADS, WIDTH, SIZE = 4, 3, 5


def inputs(length: int, groups: int, seed: int = 0, dtype: torch.dtype = torch.float64, batch: int = 2) -> list[Tensor]:
    """x, dt, A, B, C, D and an initial state, with step sizes from tiny to large."""
    random = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    tensors = [
        normal(batch, length, HEADS, WIDTH),
        torch.exp(2 * normal(batch, length, HEADS) - 2),
        -torch.exp(normal(HEADS)),
        normal(batch, length, groups, SIZE),
        normal(batch, length, groups, SIZE),
        normal(HEADS),
        normal(batch, HEADS, WIDTH, SIZE),
    ]
    return [tensor.to(dtype) for tensor in tensors]


@settings(max_examples=40, deadline=None)
@given(
    length=st.integers(1, 40),
    chunk=st.integers(1, 17),
    groups=st.sampled_from([1, 2, 4]),
    with_state=st.booleans(),
    seed=st.integers(0, 99),
)
def test_chunked_is_the_recurrence(length: int, chunk: int, groups: int, with_state: bool, seed: int) -> None:
    *tensors, state = inputs(length, groups, seed)
    start = state if with_state else None
    expected, expected_state = ssd_reference(*tensors, start)
    y, final = ssd_chunked(*tensors, start, chunk=chunk)
    torch.testing.assert_close(y, expected, atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(final, expected_state, atol=1e-9, rtol=1e-9)
    if not with_state:
        torch.testing.assert_close(ssd_outputs(*tensors, chunk=chunk), expected, atol=1e-9, rtol=1e-9)


def test_initial_state_matters() -> None:
    *tensors, state = inputs(9, 1)
    with_state, _ = ssd_chunked(*tensors, state, chunk=4)
    without, _ = ssd_chunked(*tensors, chunk=4)
    assert (with_state - without).abs().max() > 0.1


@pytest.mark.parametrize("groups", [1, 2])
def test_gradients_of_every_input(groups: int) -> None:
    weight = torch.randn(2, 11, HEADS, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    gradients = []
    for scan in (ssd_reference, lambda *args: ssd_chunked(*args, chunk=4)):
        tensors = [tensor.requires_grad_() for tensor in inputs(11, groups)]
        y, final = scan(*tensors)
        ((y * weight).sum() + final.square().sum()).backward()
        gradients.append([tensor.grad for tensor in tensors])
    for expected, found in zip(*gradients, strict=True):
        assert expected is not None and expected.abs().max() > 0
        torch.testing.assert_close(found, expected, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("chunk", [2, 8])
def test_gradients_of_outputs_alone(chunk: int) -> None:
    """As one chunk and as several."""
    gradients = []
    for scan in (lambda *args: ssd_reference(*args)[0], lambda *args: ssd_outputs(*args, chunk=chunk)):
        tensors = [tensor.requires_grad_() for tensor in inputs(11, 2)[:-1]]
        scan(*tensors).pow(3).sum().backward()
        gradients.append([tensor.grad for tensor in tensors])
    for expected, found in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-7, rtol=1e-9)


def test_gradcheck() -> None:
    tensors = [tensor.requires_grad_() for tensor in inputs(5, 2, batch=1)]
    assert torch.autograd.gradcheck(lambda *args: ssd_chunked(*args, chunk=2), tensors)


def test_steps_are_the_recurrence_and_update_in_place() -> None:
    x, dt, A, B, C, D, state = inputs(7, 2, dtype=torch.float32)
    expected, expected_state = ssd_reference(x, dt, A, B, C, D, state)
    place = state.data_ptr()
    for t in range(7):
        y = ssd_step(state, x[:, t], dt[:, t], A, B[:, t], C[:, t], D)
        torch.testing.assert_close(y, expected[:, t], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(state, expected_state, atol=1e-4, rtol=1e-4)
    assert state.data_ptr() == place


@settings(max_examples=15, deadline=None)
@given(length=st.integers(2, 30), data=st.data())
def test_zero_dt_freezes_the_state(length: int, data: st.DataObject) -> None:
    end = data.draw(st.integers(1, length - 1))
    *tensors, state = inputs(length, 1)
    cut = [tensor[:, :end] if tensor.ndim > 1 else tensor for tensor in tensors]
    tensors[1] = tensors[1].clone()
    tensors[1][:, end:] = 0
    _, final = ssd_chunked(*tensors, state, chunk=8)
    _, expected = ssd_chunked(*cut, state, chunk=8)
    torch.testing.assert_close(final, expected, atol=1e-9, rtol=1e-9)


def test_strong_decay_stays_finite() -> None:
    """Differences of large negative cumulative decays, whose upper triangle would overflow."""
    x, dt, A, B, C, D, _ = inputs(64, 1, dtype=torch.float32)
    dt = torch.full_like(dt, 50.0).requires_grad_()
    y, final = ssd_chunked(x, dt, 16 * A, B, C, D, chunk=64)
    y.sum().backward()
    assert dt.grad is not None and torch.isfinite(dt.grad).all()
    assert torch.isfinite(y).all() and torch.isfinite(final).all()


def test_computed_in_float32_under_autocast() -> None:
    tensors = inputs(20, 1, dtype=torch.float32)
    expected, _ = ssd_chunked(*tensors, chunk=8)
    with torch.autocast("cpu", torch.bfloat16):
        y, final = ssd_chunked(*tensors, chunk=8)
    assert y.dtype == final.dtype == torch.float32
    assert torch.equal(y, expected)
    low, _ = ssd_chunked(*(tensor.bfloat16() for tensor in tensors), chunk=8)
    assert low.dtype == torch.float32
