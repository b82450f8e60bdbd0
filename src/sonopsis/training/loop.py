"""The one training loop: AdamW, warm-up and cosine decay, averaged weights, a log, checkpoints to resume from.

Devices, precision and several processes are Accelerate's business (one CPU to many nodes).
"""

import json
import math
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from sonopsis.training.batches import Batch
from sonopsis.training.config import TrainConfig, dump_config


class Task(Protocol):
    """What a stage of training has to say for itself."""

    @property
    def module(self) -> nn.Module:
        """What is trained."""

    def batches(self, first: int, last: int) -> Iterator[Batch]:
        """The batches of steps `first` ... `last - 1`."""

    def loss(self, module: nn.Module, batch: Batch, progress: float) -> tuple[Tensor, dict[str, float]]:
        """The loss to minimise and figures to log; `progress` is the share of the run that is over."""

    def validate(self, module: nn.Module) -> dict[str, float]:
        """Figures on validation sources, computed with the averaged weights."""

    def export(self, module: nn.Module, folder: Path) -> None:
        """Write a model folder."""


def fit(task: Task, config: TrainConfig) -> Path:
    """Train until `config.steps`, resuming from `output/checkpoint` if there is one; returns the exported folder."""
    output = Path(config.output)
    output.mkdir(parents=True, exist_ok=True)
    dump_config(config, output / "config.yaml")
    accelerator = Accelerator(cpu=not torch.cuda.is_available(), mixed_precision=config.precision)
    optimizer = torch.optim.AdamW(_groups(task.module, config), betas=(0.9, 0.98), weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, config))
    module, optimizer, schedule = accelerator.prepare(task.module, optimizer, schedule)
    plain = accelerator.unwrap_model(module)
    averaged = AveragedModel(plain, multi_avg_fn=get_ema_multi_avg_fn(config.ema), use_buffers=True)
    accelerator.register_for_checkpointing(averaged)
    checkpoint = output / "checkpoint"
    first = _resume(accelerator, checkpoint)

    began, waited = time.perf_counter(), 0.0
    totals: dict[str, float] = {}
    module.train()
    batches = task.batches(first, config.steps)
    for step in range(first, config.steps):
        asked = time.perf_counter()
        batch = next(batches).to(accelerator.device)
        waited += time.perf_counter() - asked
        with accelerator.autocast(), _attention(accelerator.device):
            loss, figures = task.loss(module, batch, step / config.steps)
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(module.parameters(), config.clip_norm)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        averaged.update_parameters(plain)
        for name, value in figures.items():
            totals[name] = totals.get(name, 0.0) + value
        done = step + 1
        if done % config.log_every == 0:
            spent = time.perf_counter() - began
            means = {name: round(total / config.log_every, 4) for name, total in totals.items()}
            _log(output, {"step": done, **means, "seconds": round(spent, 1), "waited": round(waited, 1)})
            totals = {}
        if done % config.validate_every == 0 or done == config.steps:
            averaged.eval()
            _log(output, {"step": done, **{f"val_{k}": round(v, 4) for k, v in task.validate(averaged.module).items()}})
            module.train()
        if done % config.save_every == 0 or done == config.steps:
            accelerator.save_state(str(checkpoint))
            (checkpoint / "step.json").write_text(json.dumps({"step": done}), encoding="utf-8")
            averaged.eval()
            task.export(averaged.module, output / "model")
    return output / "model"


def _attention(device: torch.device) -> AbstractContextManager[None]:
    """Plain attention on a CPU, where the fused kernel's backward pass takes longer than the rest of the block."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()


def _groups(module: nn.Module, config: TrainConfig) -> list[dict[str, object]]:
    """Parameter groups: no decay on vectors, and the encoder's own learning rate if it has one."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        groups.setdefault((".encoder." in f".{name}", parameter.ndim < 2), []).append(parameter)
    encoder_rate = config.encoder_learning_rate or config.learning_rate
    return [
        {
            "params": parameters,
            "lr": encoder_rate if in_encoder else config.learning_rate,
            "weight_decay": 0.0 if vector else config.weight_decay,
        }
        for (in_encoder, vector), parameters in groups.items()
    ]


def _rate(step: int, config: TrainConfig) -> float:
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return 0.01 + 0.99 * (1 + math.cos(math.pi * min(1.0, progress))) / 2


def _resume(accelerator: Accelerator, checkpoint: Path) -> int:
    marker = checkpoint / "step.json"
    if not marker.is_file():
        return 0
    accelerator.load_state(str(checkpoint))
    return int(json.loads(marker.read_text(encoding="utf-8"))["step"])


def _log(output: Path, record: dict[str, float]) -> None:
    """One JSON line to the run's log and to stderr."""
    line = json.dumps(record)
    with (output / "log.jsonl").open("a", encoding="utf-8") as stream:
        stream.write(line + "\n")
    print(line, file=sys.stderr, flush=True)
