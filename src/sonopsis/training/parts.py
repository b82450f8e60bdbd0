"""Parts of a step's batch: a share for each process, and pieces that are computed one after the other."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from torch import Tensor

from sonopsis.training.batches import Batch

T = TypeVar("T")


def pieces(batch: Batch, size: int | None, process: int = 0, processes: int = 1) -> Iterator[tuple[Batch, float]]:
    """The pieces of at most `size` examples (None: one piece) of a process's share, each with its weight.

    A loss that is a mean over examples, times its weight, summed over the pieces and averaged over the processes, is
    the loss of the whole batch, and so is its gradient; one that is a mean over words is nearly so. Raises ValueError
    when a process would have no example.
    """
    count = len(batch.labels)
    if count < processes:
        raise ValueError(f"batch_size: {count} examples cannot be shared by {processes} processes; use a larger one")
    first, last = (count * number // processes for number in (process, process + 1))
    for begin in range(first, last, size or count):
        end = min(begin + (size or count), last)
        piece = batch if (begin, end) == (0, count) else rows(batch, begin, end)
        yield piece, (end - begin) * processes / count


def rows(values: T, first: int, last: int) -> T:
    """The examples `first` ... `last - 1` of a dataclass of tensors (B, ...); empty tensors stay as they are."""
    assert is_dataclass(values) and not isinstance(values, type)
    found: dict[str, Any] = {}
    for name in (field.name for field in fields(values)):
        value = getattr(values, name)
        if isinstance(value, Tensor):
            found[name] = value[first:last] if len(value) else value
        elif is_dataclass(value):
            found[name] = rows(value, first, last)
    return replace(values, **found)
