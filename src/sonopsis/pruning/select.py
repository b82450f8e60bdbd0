"""Choosing rows by score, and gathering them."""

import torch
from torch import Tensor

STEPS_OF_SEGMENT = 8  # time steps that share a quota of survivors under the reducer "segment"


def topk(score: Tensor, kept: int) -> Tensor:
    """Positions (B, K) int64, ascending, of the `kept` highest scores of (B, N); of equal scores the first wins."""
    order = score.sort(dim=1, descending=True, stable=True).indices
    return order[:, :kept].sort(dim=1).values


def topk_by_segment(score: Tensor, kept: int, steps: Tensor) -> Tensor:
    """`topk` within stretches of STEPS_OF_SEGMENT time steps, each with its share of the `kept` survivors (B, K).

    `steps` (B, N) are the patches' time steps, as many in a segment in every clip. Every part of the recording stays
    in sight, as a caption of it needs (segment-wise pruning for audio language models, arXiv 2511.14293).
    """
    segment = steps // STEPS_OF_SEGMENT  # (B, N)
    present = segment[0].bincount().tolist()
    quotas = torch.tensor(shares(present, kept), device=score.device)
    starts = torch.tensor([sum(present[:n]) for n in range(len(present))], device=score.device)
    best = score.sort(dim=1, descending=True, stable=True).indices
    grouped = best.gather(1, segment.gather(1, best).sort(dim=1, stable=True).indices)  # by segment, then by score
    owner = segment.gather(1, grouped)
    rank = torch.arange(score.shape[1], device=score.device) - starts[owner]  # place in the own segment
    return topk(torch.zeros_like(score).scatter(1, grouped, (rank < quotas[owner]).to(score.dtype)), kept)


def shares(present: list[int], kept: int) -> list[int]:
    """`kept` places divided among groups in proportion to their sizes, by largest remainder, of equals the first."""
    total = sum(present)
    quotas = [kept * size // total for size in present]
    order = sorted(range(len(present)), key=lambda n: (-(kept * present[n] % total), n))
    for n in order[: kept - sum(quotas)]:
        quotas[n] += 1
    return quotas


def columns(score: Tensor, kept: int, frequency: int) -> Tensor:
    """The patches (B, K) of the whole time steps with the highest mean score, K a multiple of `frequency`."""
    best = topk(score.unflatten(1, (-1, frequency)).mean(dim=2), kept // frequency)  # (B, K / F)
    rows = torch.arange(frequency, device=score.device)
    return (best[:, :, None] * frequency + rows).flatten(1)


def bands(score: Tensor, kept: int, time: int) -> Tensor:
    """The patches (B, K) of the whole frequency rows with the highest mean score, K a multiple of `time`."""
    left = score.shape[1] // time  # frequency rows that entered
    best = topk(score.unflatten(1, (time, left)).mean(dim=1), kept // time)  # (B, K / T)
    steps = torch.arange(time, device=score.device)[:, None] * left
    return (steps + best[:, None, :]).flatten(1)


def by_mass(score: Tensor, mass: float, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """The fewest patches of each clip that hold a share `mass` of its score: positions (B, K), and a mask (B, K).

    Survivors come first, ascending; shorter clips are padded with position 0, False in the mask. `mask` (B, N) is
    False on the padding that entered.
    """
    weight = positive(score, mask)
    ordered, order = weight.sort(dim=1, descending=True, stable=True)
    reached = ordered.double().cumsum(dim=1)
    count = (reached < (mass - 1e-9) * reached[:, -1:]).sum(dim=1) + 1  # (B,)
    kept = int(count.max())
    survives = torch.arange(kept, device=score.device) < count[:, None]
    beyond = score.shape[1]
    rows = torch.where(survives, order[:, :kept], beyond).sort(dim=1).values
    return torch.where(rows < beyond, rows, 0), survives


def positive(score: Tensor, mask: Tensor | None = None) -> Tensor:
    """Scores (B, N) as weights: shifted up where some are negative, 0 where `mask` is False, never all 0."""
    if mask is None:
        mask = torch.ones_like(score, dtype=torch.bool)
    lowest = score.masked_fill(~mask, torch.inf).amin(dim=1, keepdim=True).clamp(max=0)
    return (score - lowest + torch.finfo(score.dtype).tiny).masked_fill(~mask, 0)


def with_prefix(index: Tensor, prefix: int) -> Tensor:
    """Patch positions (B, K) -> rows (B, P + K) of the sequence in which `prefix` tokens come first."""
    first = torch.arange(prefix, device=index.device).expand(index.shape[0], -1)
    return torch.cat([first, index + prefix], dim=1)


def take(x: Tensor, rows: Tensor) -> Tensor:
    """The given rows (B, R) of x (B, T, D), or of every head of x (B, H, T, D)."""
    # Whole rows are copied, which is several times as fast as torch.gather with an index for each number.
    groups, length = x.shape[1:-2].numel(), x.shape[-2]
    first = torch.arange(x.shape[0] * groups, device=x.device).view(-1, groups, 1) * length
    taken = x.flatten(0, -2).index_select(0, (rows[:, None] + first).flatten())
    return taken.view(*x.shape[:-2], rows.shape[1], x.shape[-1])
