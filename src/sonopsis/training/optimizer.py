"""What is trained and how fast: frozen parts, learning rates by layer, warm-up and cosine decay."""

import math
import re
from collections.abc import Mapping, Sequence

import torch
from torch import nn

from sonopsis.encoder import Encoder
from sonopsis.training.config import EncoderTraining, TrainConfig

LAST_RATE = 0.01  # of the learning rate at the end of the run
# A parameter's name, with its block; a language model of transformers may have an encoder of its own.
IN_ENCODER = re.compile(r"^(?!lm\.)(?:.*\.)?encoder\.(norm\.|pooling\.|blocks\.(\d+)\.)?")


def freeze(encoder: Encoder, settings: EncoderTraining) -> list[nn.Module]:
    """Take gradients from what is not trained; returns the modules to keep in evaluation mode.

    Raises ValueError when there is no such block.
    """
    depth = encoder.config.depth
    if isinstance(settings.train, int) and settings.train >= depth:
        raise ValueError(f"encoder.train: this encoder has blocks 0-{depth - 1}, no block {settings.train}")
    if settings.frozen:
        encoder.requires_grad_(False)
        return [encoder]
    if settings.train == "all":
        return []
    encoder.requires_grad_(False)
    first = int(settings.train)
    for block in encoder.blocks[first:]:
        block.requires_grad_(True)
    encoder.norm.requires_grad_(True)
    if encoder.pooling is not None:
        encoder.pooling.requires_grad_(True)
    return [encoder.stem, encoder.norm_in, *encoder.blocks[:first]]


def make_optimizer(module: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """AdamW over what is trained: no decay of vectors, the encoder's own rate, decayed from block to block."""
    blocks = [int(found[2]) for name, _ in module.named_parameters() if (found := IN_ENCODER.search(name)) and found[2]]
    last = max(blocks, default=0)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            decay = 0.0 if parameter.ndim < 2 else config.weight_decay
            groups.setdefault((rate_of(name, last, config), decay), []).append(parameter)
    if not groups:
        raise ValueError("encoder.train: nothing is left to train; use another value than frozen")
    return torch.optim.AdamW(
        [{"params": found, "lr": rate, "weight_decay": decay} for (rate, decay), found in groups.items()],
        betas=(0.9, 0.98),
    )


def adopt_rates(
    optimizer: torch.optim.Optimizer,
    rates: torch.optim.lr_scheduler.LambdaLR,
    planned: Sequence[Mapping[str, float]],
    share: float,
) -> None:
    """Give a resumed optimizer the rates and decays of its configuration (`planned`, for each group) in place of those
    that its checkpoint remembers, so that a run that diverged can go on with a lower rate; `share` is that of the
    schedule."""
    for group, plan in zip(optimizer.param_groups, planned, strict=True):
        group.update(plan, lr=plan["initial_lr"] * share)
    rates.base_lrs = [plan["initial_lr"] for plan in planned]


def rate_of(name: str, last_block: int, config: TrainConfig) -> float:
    """The learning rate of a parameter: in the encoder, times `layer_decay` for each layer between it and the end."""
    found = IN_ENCODER.search(name)
    if found is None or found[1] == "pooling.":  # pooling is part of what the head does
        return config.learning_rate
    rate = config.learning_rate if config.encoder.learning_rate is None else config.encoder.learning_rate
    if found[1] == "norm.":
        return rate
    layers = last_block + 1 - (int(found[2]) if found[2] else -1)  # the stem lies before block 0
    return rate * config.encoder.layer_decay**layers


def schedule(step: int, steps: int, warmup: int) -> float:
    """The share of its learning rate that a parameter has at a step of `steps`: linear warm-up, then half a cosine."""
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return LAST_RATE + (1 - LAST_RATE) * (1 + math.cos(math.pi * min(1.0, progress))) / 2
