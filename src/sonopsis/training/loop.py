"""The one training loop: AdamW, averaged weights, a log, checkpoints to resume from.

Devices, precision and several processes are Accelerate's business (one CPU to many nodes).
"""

import json
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from sonopsis.training.batches import Batch
from sonopsis.training.config import TrainConfig
from sonopsis.training.configfile import dump_config
from sonopsis.training.kept import MODEL, RECORD, find_kept, keep_if_better
from sonopsis.training.optimizer import make_optimizer, schedule
from sonopsis.training.resume import check_same_run, find_checkpoint, write_checkpoint


class Task(Protocol):
    """What a stage of training has to say for itself."""

    @property
    def module(self) -> nn.Module:
        """What is trained."""

    @property
    def fixed(self) -> Sequence[nn.Module]:
        """Parts of it that stay in evaluation mode."""

    @property
    def criterion(self) -> str:
        """The figure of `validate` that tells which weights are best; more is better."""

    def batches(self, first: int, last: int) -> Iterator[Batch]:
        """The batches of steps `first` ... `last - 1`."""

    def loss(self, module: nn.Module, batch: Batch, progress: float) -> tuple[Tensor, dict[str, float]]:
        """The loss to minimise and figures to log; `progress` is the share of the run that is over."""

    def validate(self, module: nn.Module) -> dict[str, float]:
        """Figures on validation sources, computed with the averaged weights."""

    def export(self, module: nn.Module, folder: Path) -> None:
        """Write a model folder."""


def fit(task: Task, config: TrainConfig) -> Path:
    """Train until `config.steps`, resuming from `output/checkpoint` if there is one; returns the exported folder.

    Ctrl-C and SIGTERM end the step and save a checkpoint before KeyboardInterrupt is raised.
    """
    output = Path(config.output)
    output.mkdir(parents=True, exist_ok=True)
    folder, first = find_checkpoint(output)
    if folder is None:
        (output / RECORD).unlink(missing_ok=True)
    else:
        check_same_run(config, output / "config.yaml")
    dump_config(config, output / "config.yaml")
    accelerator = Accelerator(cpu=not torch.cuda.is_available(), mixed_precision=config.precision)
    optimizer = make_optimizer(task.module, config)
    rates = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: schedule(step, config))
    module, optimizer, rates = accelerator.prepare(task.module, optimizer, rates)
    plain = accelerator.unwrap_model(module)
    averaged = AveragedModel(plain, multi_avg_fn=get_ema_multi_avg_fn(config.ema), use_buffers=True)
    accelerator.register_for_checkpointing(averaged)
    if folder is not None:
        accelerator.load_state(str(folder))

    def save(done: int) -> None:
        write_checkpoint(output, done, lambda folder: accelerator.save_state(str(folder)))

    def export(folder: Path) -> None:
        averaged.eval()
        task.export(averaged.module, folder)

    began, waited = time.perf_counter(), 0.0
    totals: dict[str, float] = {}
    _train_mode(module, task)
    batches = task.batches(first, config.steps)
    with _interrupts() as interrupt:
        for step in range(first, config.steps):
            asked = time.perf_counter()
            batch = next(batches).to(accelerator.device)
            waited += time.perf_counter() - asked
            with accelerator.autocast(), _attention(accelerator.device):
                loss, figures = task.loss(module, batch, step / config.steps)
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(module.parameters(), config.clip_norm)
            optimizer.step()
            rates.step()
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
                figures = task.validate(averaged.module)
                _log(output, {"step": done, **{f"val_{k}": round(v, 4) for k, v in figures.items()}})
                if config.keep == "best" and task.criterion in figures:
                    keep_if_better(output, done, figures[task.criterion], export)
                _train_mode(module, task)
            if done % config.save_every == 0 or done == config.steps:
                save(done)
                if find_kept(output) is None:
                    export(output / MODEL)
            elif interrupt.is_set():  # after the validation, which a resumed run does not repeat
                save(done)
            if interrupt.is_set() and done < config.steps:
                raise KeyboardInterrupt
    if first >= config.steps and find_kept(output) is None:  # a run that was stopped after its last step
        export(output / MODEL)
    return output / MODEL


def _train_mode(module: nn.Module, task: Task) -> None:
    module.train()
    for part in task.fixed:
        part.eval()


def _attention(device: torch.device) -> AbstractContextManager[None]:
    """Plain attention on a CPU, where the fused kernel's backward pass takes longer than the rest of the block."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()


@contextmanager
def _interrupts() -> Iterator[threading.Event]:
    """Ctrl-C and SIGTERM set the event, so that a step is not left half done; a second one interrupts at once."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # only there signals can be handled
        yield asked
        return

    def ask(number: int, frame: Any) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _log(output: Path, record: dict[str, float]) -> None:
    """One JSON line to the run's log and to stderr."""
    line = json.dumps(record)
    with (output / "log.jsonl").open("a", encoding="utf-8") as stream:
        stream.write(line + "\n")
    print(line, file=sys.stderr, flush=True)
