"""Fixed position codes for a time-frequency grid."""

import torch
from torch import Tensor


def sincos_table(grid: tuple[int, int], width: int) -> Tensor:
    """Sin-cos codes (N, D) float32 of a (time, frequency) grid in time-major order, N = time * frequency.

    The first half of the channels encodes the frequency row, the second half the time row, each as [sin | cos] with
    angular frequencies 10000^(-i / (D / 4)), the layout of MAE and EAT. Time is the outer index, so the table of a
    shorter input is a prefix of the table of a longer one. `width` must be a multiple of 4.
    """
    time, frequency = grid
    omega = 10000.0 ** (-torch.arange(width // 4, dtype=torch.float64) / (width // 4))  # (D/4,)
    row_t = torch.arange(time, dtype=torch.float64).repeat_interleave(frequency)  # (N,)
    row_f = torch.arange(frequency, dtype=torch.float64).repeat(time)  # (N,)
    angles_f, angles_t = row_f[:, None] * omega, row_t[:, None] * omega  # (N, D/4)
    return torch.cat([angles_f.sin(), angles_f.cos(), angles_t.sin(), angles_t.cos()], dim=1).float()  # (N, D)
