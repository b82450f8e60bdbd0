"""Stride and input length that a checkpoint does not name, from the number of its positions."""

from collections.abc import Iterable

STRIDES = (10, 16, 12, 14)  # of published models whose patches are 16 x 16
LENGTHS = (1024, 512, 128, 256, 2048)  # Mel frames that published models were trained with


def grids(
    patches: int, patch: tuple[int, int], mels: int, strides: Iterable[int], lengths: Iterable[int]
) -> list[tuple[int, int]]:
    """Every (stride, Mel frames) with which patches of (time, frequency) on `mels` bands are this many.

    The order is that of `lengths`, then of `strides`.
    """
    patch_t, patch_f = patch
    return [
        (stride, length)
        for length in lengths
        for stride in strides
        if stride >= 1 and patches == ((length - patch_t) // stride + 1) * ((mels - patch_f) // stride + 1)
    ]
