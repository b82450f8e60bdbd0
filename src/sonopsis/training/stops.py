"""Why a run stops before its end, said so that its user knows what to change."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from sonopsis.training.config import TrainConfig
from sonopsis.training.resume import find_checkpoint

# What torch says on a CPU, where it has no type of its own for this.
SAID_ON_CPU = ("can't allocate memory", "Cannot allocate memory", "not enough memory")


class TrainingStopped(ValueError):
    """A run cannot go on with these settings."""


def diverged(step: int, loss: float, output: Path) -> TrainingStopped:
    """What to raise when a gradient is not finite; the weights are those from before this step."""
    folder, done = find_checkpoint(output)
    saved = (
        "there is no checkpoint yet"
        if folder is None
        else f"the last good checkpoint is {folder}, of step {done}, and the same command carries on from there"
    )
    return TrainingStopped(
        f"the run diverged in step {step} (loss {loss:g}, a gradient that is not finite); {saved}. Lower "
        "learning_rate, or raise warmup_steps; if it had gone wrong before that checkpoint, delete it to go on from "
        "the one before (`checkpoints` says how many are kept)"
    )


@contextmanager
def naming_the_key(step: int, config: TrainConfig) -> Iterator[None]:
    """An error of memory says which key to lower."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        words = str(error)
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and not any(s in words for s in SAID_ON_CPU):
            raise
        at_once = min(config.micro_batch or config.batch_size, config.batch_size)
        if at_once > 1:
            advice = f"set micro_batch to {at_once // 2} (the same steps in smaller pieces), or lower batch_size"
        else:
            advice = "an example alone is too large: lower data.seconds, or choose a smaller model"
        raise TrainingStopped(
            f"memory ran out in step {step}, examples computed at once: {at_once}; {advice}; then the same command "
            "carries on"
        ) from error
