"""State-space duality: one linear recurrence per head, computed chunk by chunk with matrix products.

    state_t = exp(dt_t A) state_{t-1} + dt_t x_t B_t^T        y_t = state_t C_t + D x_t        (arXiv 2405.21060, eq. 2)

Shapes: x (b, l, h, p); dt (b, l, h), positive, after softplus; A (h,), negative; B and C (b, l, g, n), shared by the
h / g heads of a group; D (h,); state (b, h, p, n). Where dt is 0 the state stays as it is, which is how padding is made
harmless. Everything is computed in float32 or wider whatever the inputs' dtype and the autocast around it: rounded
decays and states make errors that grow with the length.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


def widen(tensor: Tensor) -> Tensor:
    """The tensor in float32, or in float64 if it already was."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def ssd_reference(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The recurrence as written above, one position after another: slow, the oracle of the tests.

    Returns y (b, l, h, p) and the state (b, h, p, n) after the last position.
    """
    x, dt, A, B, C, D = (widen(tensor) for tensor in (x, dt, A, B, C, D))
    batch, length, heads, width = x.shape
    per_group = heads // B.shape[2]
    state = x.new_zeros(batch, heads, width, B.shape[3]) if state is None else widen(state)
    outputs = []
    for t in range(length):
        b_t = B[:, t].repeat_interleave(per_group, dim=1)  # (b, h, n)
        c_t = C[:, t].repeat_interleave(per_group, dim=1)
        write = (dt[:, t, :, None] * x[:, t]).unsqueeze(-1) * b_t.unsqueeze(-2)  # (b, h, p, n)
        state = torch.exp(dt[:, t] * A)[..., None, None] * state + write
        outputs.append((state * c_t.unsqueeze(-2)).sum(-1) + D[:, None] * x[:, t])  # (b, h, p)
    return torch.stack(outputs, dim=1), state


def ssd_chunked(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    state: Tensor | None = None,
    *,
    chunk: int = 64,
) -> tuple[Tensor, Tensor]:
    """The same function as `ssd_reference` with matrix products inside chunks (arXiv 2405.21060, section 6).

    All chunks at once, differentiable. The length is cut into equal chunks of at most `chunk` positions, so any length
    is right and little is padded. Returns y (b, l, h, p) and the last state (b, h, p, n), float32 or wider.
    """
    with torch.autocast(x.device.type, enabled=False):
        cut = _cut(x, dt, A, B, C, chunk)
        batch, chunks = cut.x.shape[:2]
        added = _added(cut)  # (b, c, h, p, n)
        keeps = torch.exp(cut.total[:, :, -1])[..., None, None]  # (b, c, h, 1, 1), of a whole chunk
        state = added.new_zeros(batch, *added.shape[2:]) if state is None else widen(state)
        starts = []
        for i in range(chunks):  # the recurrence again, with one step per chunk
            starts.append(state)
            state = keeps[:, i] * state + added[:, i]
        start = torch.stack(starts, dim=1).view(batch, chunks, cut.C.shape[2], -1, cut.C.shape[4])
        read = (cut.C @ start.transpose(-1, -2)).transpose(2, 3)  # (b, c, q, g, h/g * p)
        y = torch.addcmul(_inside(cut), read.reshape(cut.x.shape), torch.exp(cut.total).unsqueeze(-1))
        return _joined(y, x, D), state


def ssd_outputs(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, *, chunk: int = 64) -> Tensor:
    """Only y of `ssd_chunked`, from an empty state, which is what training asks for.

    Up to `2 * chunk` positions are a single chunk, which costs fewer operations than states between chunks would.
    """
    if x.shape[1] > 2 * chunk:
        return ssd_chunked(x, dt, A, B, C, D, chunk=chunk)[0]
    with torch.autocast(x.device.type, enabled=False):
        return _joined(_inside(_cut(x, dt, A, B, C, 2 * chunk)), x, D)


class _Chunks(NamedTuple):
    """The inputs cut into chunks: x times dt (b, c, q, h, p); B and C (b, c, g, q, n); total (b, c, q, h)."""

    x: Tensor
    B: Tensor
    C: Tensor
    total: Tensor  # the logarithm of what is kept of the chunk's start after each position


def _cut(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, chunk: int) -> _Chunks:
    batch, length, heads, width = x.shape
    chunks = -(-length // chunk)
    q = -(-length // chunks)
    dt = widen(dt)
    x, B, C, decay = widen(x) * dt.unsqueeze(-1), widen(B), widen(C), dt * widen(A)
    if padding := chunks * q - length:  # no decay and nothing written: the state passes through
        x, B, C = (F.pad(tensor, (0, 0, 0, 0, 0, padding)) for tensor in (x, B, C))
        decay = F.pad(decay, (0, 0, 0, padding))
    return _Chunks(
        x.reshape(batch, chunks, q, heads, width),
        B.reshape(batch, chunks, q, *B.shape[2:]).transpose(2, 3),
        C.reshape(batch, chunks, q, *C.shape[2:]).transpose(2, 3),
        decay.reshape(batch, chunks, q, heads).cumsum(2),
    )


def _inside(cut: _Chunks) -> Tensor:
    """What positions of one chunk give each other, (b, c, q, h, p).

    Attention with the scores C.B, once per group, times the decay between two positions, which is exp(-inf) above the
    diagonal: differences there may overflow.
    """
    q = cut.x.shape[2]
    rows = cut.total.transpose(2, 3)  # (b, c, h, q)
    future = torch.full((q, q), -torch.inf, dtype=rows.dtype, device=rows.device).triu(1)
    between = torch.exp(rows.unsqueeze(-1) - rows.unsqueeze(-2) + future)  # (b, c, h, q, q)
    scores = (cut.C @ cut.B.transpose(-1, -2)).unsqueeze(3)  # (b, c, g, 1, q, q)
    weights = (scores * between.unflatten(2, (scores.shape[2], -1))).flatten(2, 3)  # (b, c, h, q, q)
    return (weights @ cut.x.transpose(2, 3)).transpose(2, 3)


def _added(cut: _Chunks) -> Tensor:
    """What each chunk adds to the state at its end, (b, c, h, p, n): one product over all heads of a group."""
    batch, chunks, q, heads, width = cut.x.shape
    rest = torch.exp(cut.total[:, :, -1:] - cut.total).unsqueeze(-1)  # (b, c, q, h, 1), the decay up to the end
    late = (cut.x * rest).view(batch, chunks, q, cut.B.shape[2], -1)  # (b, c, q, g, h/g * p)
    return (late.permute(0, 1, 3, 4, 2) @ cut.B).view(batch, chunks, heads, width, -1)


def _joined(y: Tensor, x: Tensor, D: Tensor) -> Tensor:
    """Chunks (b, c, q, h, p) -> (b, l, h, p) without padding, with the skip D x."""
    return torch.addcmul(y.reshape(y.shape[0], -1, *y.shape[3:])[:, : x.shape[1]], widen(x), widen(D).unsqueeze(-1))


def ssd_step(state: Tensor, x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> Tensor:
    """One position: x (b, h, p), dt (b, h), B and C (b, g, n), all float32; `state` is updated in place.

    Returns y (b, h, p). Not differentiable.
    """
    batch, heads, width, size = state.shape
    groups = B.shape[1]
    write = (x * dt.unsqueeze(-1)).view(batch, groups, -1, 1)  # (b, g, h/g * p, 1)
    grouped = state.mul_(torch.exp(dt * A)[..., None, None]).view(batch, groups, -1, size)
    grouped.addcmul_(write, B.unsqueeze(2))
    read = grouped.view(batch * groups, -1, size) @ C.reshape(batch * groups, size, 1)
    return torch.addcmul(read.view(batch, heads, width), x, D.unsqueeze(-1))
