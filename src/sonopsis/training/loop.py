"""The one training loop: AdamW, averaged weights, a log, checkpoints to resume from.

Devices, precision and several processes are Accelerate's business (one CPU to many nodes). Every process composes whole
batches and computes its share of them, so that a run has the same examples however many processes train it.
"""

import json
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DataLoaderConfiguration, DistributedDataParallelKwargs, InitProcessGroupKwargs
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from sonopsis.training.batches import Batch
from sonopsis.training.config import TrainConfig
from sonopsis.training.configfile import dump_config
from sonopsis.training.environment import ENVIRONMENT, environment
from sonopsis.training.kept import MODEL, RECORD, find_kept, keep_if_better
from sonopsis.training.log import Log
from sonopsis.training.optimizer import adopt_rates, make_optimizer, schedule
from sonopsis.training.parts import pieces
from sonopsis.training.precision import precision_of
from sonopsis.training.resume import SCRATCH, check_same_run, find_checkpoint, write_checkpoint
from sonopsis.training.stops import diverged, naming_the_key

LONGEST_WAIT = timedelta(hours=6)  # of one process for another, which may hear scenes or validate


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
    """Train until `config.steps`, resuming from a checkpoint in `output` if there is one; returns the exported folder.

    Ctrl-C and SIGTERM end the step and save a checkpoint before KeyboardInterrupt is raised. Raises TrainingStopped
    when the run diverges or memory runs out. Of several processes (`accelerate launch`) each has its share of a batch.
    """
    output = Path(config.output)
    accelerator = _accelerator(config)
    main, processes = accelerator.is_main_process, accelerator.num_processes
    folder, first = find_checkpoint(output)
    if folder is not None:
        check_same_run(config, output / "config.yaml")
    accelerator.wait_for_everyone()  # all have seen the same folder
    if main:
        output.mkdir(parents=True, exist_ok=True)
        if folder is None:
            (output / RECORD).unlink(missing_ok=True)
        dump_config(config, output / "config.yaml")
        about = environment(task.module, accelerator.device, processes, accelerator.mixed_precision)
        (output / ENVIRONMENT).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    optimizer = make_optimizer(task.module, config)
    share_at = partial(schedule, steps=config.steps, warmup=config.warmup_steps)
    rates = torch.optim.lr_scheduler.LambdaLR(optimizer, share_at)
    planned = [{key: group[key] for key in ("initial_lr", "weight_decay")} for group in optimizer.param_groups]
    module, optimizer, rates = accelerator.prepare(task.module, optimizer, rates)
    plain = accelerator.unwrap_model(module)
    averaged = AveragedModel(plain, multi_avg_fn=get_ema_multi_avg_fn(config.ema), use_buffers=True)
    accelerator.register_for_checkpointing(averaged)
    if folder is not None:
        accelerator.load_state(str(folder))
        adopt_rates(optimizer.optimizer, rates.scheduler, planned, share_at(first))

    def together(folder: Path) -> None:
        accelerator.wait_for_everyone()
        # Not as safetensors: it takes the tensors of no size of two encoders without prefix tokens for one.
        accelerator.save_state(str(folder), safe_serialization=False)
        accelerator.wait_for_everyone()

    def save(done: int) -> None:
        if main:
            write_checkpoint(output, done, together, config.checkpoints)
        else:  # the random state of every process is part of the checkpoint
            together(output / SCRATCH)

    def export(folder: Path) -> None:
        averaged.eval()
        task.export(averaged.module, folder)

    def validate(done: int) -> None:
        averaged.eval()
        figures = task.validate(averaged.module)
        log.write({"step": done, **{f"val_{k}": round(v, 4) for k, v in figures.items()}})
        if config.keep == "best" and task.criterion in figures:
            keep_if_better(output, done, figures[task.criterion], export)

    began, waited = time.perf_counter(), 0.0
    totals: dict[str, float] = {}
    logged = first  # the last step whose figures are in the log
    _train_mode(module, task)
    with accelerator.main_process_first():  # the others find the files that it writes
        batches = task.batches(first, config.steps)
    with _interrupts() as interrupt, Log(output, first, config.steps, silent=not main) as log:
        for step in range(first, config.steps):
            done = step + 1
            asked = time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - asked
            parts = list(pieces(batch, config.micro_batch, accelerator.process_index, processes))
            with naming_the_key(done, config):
                for number, (piece, weight) in enumerate(parts):
                    together_now = number == len(parts) - 1  # gradients of the processes are averaged once in a step
                    with nullcontext() if together_now else accelerator.no_sync(module):
                        with accelerator.autocast(), _attention(accelerator.device):
                            loss, figures = task.loss(module, piece.to(accelerator.device), step / config.steps)
                        accelerator.backward(loss * weight)
                    for name, value in figures.items():
                        totals[name] = totals.get(name, 0.0) + weight * value
                norm = accelerator.clip_grad_norm_(module.parameters(), config.clip_norm)
                if norm is not None and not torch.isfinite(norm):
                    raise diverged(done, loss.item(), output)
                optimizer.step()
            rates.step()
            optimizer.zero_grad(set_to_none=True)
            averaged.update_parameters(plain)
            if done % config.log_every == 0:
                means = _means(accelerator, totals, done - logged)
                spent = time.perf_counter() - began
                log.write({"step": done, **means, "seconds": round(spent, 1), "waited": round(waited, 1)})
                totals, logged = {}, done
            if done % config.validate_every == 0 or done == config.steps:
                if main:
                    validate(done)
                accelerator.wait_for_everyone()
                _train_mode(module, task)
            stop = _anywhere(accelerator, interrupt.is_set())
            if done % config.save_every == 0 or done == config.steps:
                save(done)
                if main and find_kept(output) is None:
                    export(output / MODEL)
            elif stop:  # after the validation, which a resumed run does not repeat
                save(done)
            log.advance()
            if stop and done < config.steps:
                raise KeyboardInterrupt
    if main and first >= config.steps and find_kept(output) is None:  # a run that was stopped after its last step
        export(output / MODEL)
    accelerator.wait_for_everyone()
    return output / MODEL


def _accelerator(config: TrainConfig) -> Accelerator:
    """Accelerate, with what several processes need: each step is one of the schedule, and waiting may take long."""
    AcceleratorState._reset_state()  # an earlier run of this program may have computed with another precision
    return Accelerator(
        cpu=not torch.cuda.is_available(),
        mixed_precision=precision_of(config),
        dataloader_config=DataLoaderConfiguration(split_batches=True),
        kwargs_handlers=[
            DistributedDataParallelKwargs(find_unused_parameters=True),
            InitProcessGroupKwargs(timeout=LONGEST_WAIT),
        ],
    )


def _means(accelerator: Accelerator, totals: dict[str, float], steps: int) -> dict[str, float]:
    """The figures of a step, averaged over steps and processes."""
    sums = torch.tensor([*totals.values()], dtype=torch.float32, device=accelerator.device)
    means = accelerator.reduce(sums / steps, reduction="mean").tolist()
    return {name: round(mean, 4) for name, mean in zip(totals, means, strict=True)}


def _anywhere(accelerator: Accelerator, interrupted: bool) -> bool:
    """Whether any process was interrupted: all must stop after the same step."""
    if accelerator.num_processes == 1:
        return interrupted
    return bool(accelerator.reduce(torch.tensor(float(interrupted), device=accelerator.device), reduction="sum") > 0)


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
