"""What a frozen encoder hears once, kept in files from which batches of many epochs are made.

    OUTPUT/KIND/KEY/000000.safetensors ...    16 examples each: what connector and head read of them, and their words

KEY is a digest of everything that decides what is in the files: the encoder's weights, the recordings, how they are
changed, the keep rates. So files of another encoder or other settings are never read. A run that was stopped goes on
after the last whole file, and more examples are added to those that are there.
"""

import hashlib
import json
import os
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor

from sonopsis.captioning.captioner import Captioner
from sonopsis.captioning.connector import Heard
from sonopsis.mel import MelConfig
from sonopsis.training.batches import Batch, by_length, stream
from sonopsis.training.config import DataConfig, TrainConfig
from sonopsis.training.precision import precision_of
from sonopsis.training.rates import training_pruning
from sonopsis.training.tokens import encode_answers

VERSION = 4  # of the files
IN_A_FILE = 16  # examples that the encoder hears together
REPORT = 32  # files after which one line says how many there are
# Settings that do not decide what is heard.
ELSEWHERE = (
    "root",
    "manifest",
    "folder",
    "cache",
    "captions",
    "workers",
    "scenes",
    "hearings",
    "feature_noise",
    "feature_drop",
    "questions",
)

Saying = Callable[[np.random.Generator], tuple[str, str]]  # a question, perhaps empty, and what is to be said of it


class Source(Protocol):
    """Examples that are heard."""

    mel: MelConfig
    labels: list[str]
    seed: int


def place(kind: str, captioner: Captioner, source: Source, config: TrainConfig, facts: Mapping[str, Any]) -> Path:
    """Where the files of a run are: a folder of its output, named for a digest of all that decides what is in them.

    That is the encoder's weights, the settings that decide what is heard, and `facts`, which tell the examples.
    """
    reads = captioner.connector.config
    known = {
        **facts,
        "version": VERSION,
        "front end": asdict(source.mel),
        "labels": source.labels,
        "seed": source.seed,
        "encoder": captioner.tagger.encoder.config.to_dict(),
        "connector": [reads.pool, reads.pool_frequency, reads.blocks, reads.fills],
        "data": {name: value for name, value in asdict(config.data).items() if name not in ELSEWHERE},
        "pruning": asdict(config.pruning),
        "precision": precision_of(config),
    }
    encoders = {"": captioner.tagger.encoder}
    if captioner.second is not None and captioner.second_config is not None:
        known["second encoder"] = asdict(captioner.second_config)
        encoders["second."] = captioner.second
    digest = hashlib.sha256(json.dumps(known, sort_keys=True).encode())
    for which, encoder in encoders.items():
        for name, tensor in encoder.state_dict().items():
            digest.update(f"{which}{name}".encode())
            digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return Path(config.output) / kind / digest.hexdigest()[:16]


def hear(
    captioner: Captioner,
    folder: Path,
    count: int,
    seed: int,
    config: TrainConfig,
    batch: Callable[[int], Batch],
    about: Callable[[int], Mapping[str, str]],
) -> list[Path]:
    """The files of `count` examples; those that are missing are written from `batch(number)`, IN_A_FILE examples each.

    `about(number)` is what else such a file holds. Each file has a keep rate of its own, drawn as in training once the
    lower bound has shrunk. One line to stderr for each REPORT files.
    """
    files = [folder / f"{number:06}.safetensors" for number in range(-(-count // IN_A_FILE))]
    missing = [number for number, file in enumerate(files) if not file.is_file()]
    if not missing:
        return files
    folder.mkdir(parents=True, exist_ok=True)
    encoder = captioner.tagger.encoder.eval()
    device = next(encoder.parameters()).device
    half = torch.autocast(device.type, torch.bfloat16, enabled=precision_of(config) == "bf16")
    began, last = time.perf_counter(), missing[-1]
    for number, examples in enumerate(stream(batch, missing[0], last + 1, config.data.workers), missing[0]):
        draw = random.Random(f"{seed} {number}").uniform
        pruning = training_pruning(encoder.config.depth, config.pruning, 1.0, draw)
        with torch.inference_mode(), half:
            heard = captioner.hear(examples.mel.to(device), pruning)
        _write(files[number], heard, examples, about(number))
        if (number + 1) % REPORT == 0 or number == last:
            record = {folder.parent.name: (number + 1) * IN_A_FILE, "seconds": round(time.perf_counter() - began, 1)}
            print(json.dumps(record), file=sys.stderr, flush=True)
    return files


def _write(file: Path, heard: Heard, batch: Batch, about: Mapping[str, str]) -> None:
    """Write one file, whole or not at all."""
    tensors = {name: getattr(heard, name).half().cpu().contiguous() for name in ("steps", "summary", "pooled")}
    tensors["labels"] = batch.labels.half()  # NaN where nobody labelled
    if batch.sounding is not None:
        tensors["sounding"] = batch.sounding.bool()
    scratch = file.with_suffix(f".{os.getpid()}.part")  # several runs of a sweep may hear the same examples
    save_file(tensors, scratch, dict(about))
    scratch.replace(file)


class HeardExamples:
    """Batches of examples that were heard before: `batch(step)`, a function of seed and step alone.

    Every epoch goes through the examples in another order; a remainder that fills no batch waits for another epoch.
    `sayings` gives, from what else a file holds, what may be said of each of its examples.
    """

    def __init__(
        self,
        files: Sequence[Path],
        count: int,
        sayings: Callable[[Mapping[str, str]], Sequence[Saying]],
        *,
        size: int,
        seed: int,
        tokenizer: Tokenizer,
        data: DataConfig,
    ) -> None:
        self.seed, self.tokenizer, self.data = seed, tokenizer, data
        self._places: list[tuple[Path, int]] = []  # of each example: its file, its row there
        self._said: list[Saying] = []  # of each example
        lengths: list[int] = []  # of each example, in time steps
        for file in files:
            with safe_open(file, "pt") as stored:
                said = sayings(stored.metadata())
                rows, steps = stored.get_slice("steps").get_shape()[:2]
            lengths += [steps] * rows
            self._places += [(file, row) for row in range(rows)]
            self._said += said
        count = min(count, len(lengths))  # the last file may hold more
        self._lengths = np.array(lengths[:count])
        self.size = min(size, count)
        self._epoch: tuple[int, NDArray[np.int64]] | None = None  # the epoch last ordered, and its batches

    def batch(self, step: int) -> Batch:
        """One step's examples, each with something that is said of it.

        The last time step of a shorter example is repeated up to the length of the longest.
        """
        rng = np.random.default_rng((self.seed, step))
        epoch, place = divmod(step, len(self._lengths) // self.size)
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = epoch, by_length(self._lengths, self.size, np.random.default_rng((self.seed, epoch, 1)))
        examples = self._epoch[1][place]
        time = int(self._lengths[examples].max())
        found = [self._read(example, time) for example in examples]
        steps, summary, pooled, labels, *sounding = (torch.stack(rows) for rows in zip(*found, strict=True))
        said = [self._said[example](rng) for example in examples]
        heard = Heard(self._roughened(steps, rng), self._noisy(summary, rng), pooled)
        ids, targets = encode_answers(self.tokenizer, said)
        return Batch(torch.empty(0), labels, ids, targets, sounding[0] if sounding else None, features=heard)

    def _read(self, example: int, time: int) -> list[Tensor]:
        """Steps (time, inputs + further), summary (D,), pooled (D,), labels (labels,) and, of a scene, sounding
        (time, labels)."""
        file, row = self._places[example]
        with safe_open(file, "pt") as stored:
            names = ["steps", "summary", "pooled", "labels", *{"sounding"}.intersection(stored.keys())]
            steps, summary, pooled, labels, *sounding = (stored.get_slice(name)[row].float() for name in names)
        return [_longer(steps, time), summary, pooled, labels, *(_longer(one, time) for one in sounding)]

    def _roughened(self, steps: Tensor, rng: np.random.Generator) -> Tensor:
        """Time steps (B, t, F * D) with noise, some of them silenced."""
        steps = self._noisy(steps, rng)
        if self.data.feature_drop:
            kept = rng.random(steps.shape[:2]) >= self.data.feature_drop
            steps = steps * torch.from_numpy(kept).unsqueeze(-1)
        return steps

    def _noisy(self, features: Tensor, rng: np.random.Generator) -> Tensor:
        """Features (..., D) with noise in proportion to the deviation of each channel in the batch."""
        if not self.data.feature_noise:
            return features
        deviation = features.flatten(0, -2).std(dim=0, correction=0)
        noise = torch.from_numpy(rng.standard_normal(features.shape, dtype=np.float32))
        return features + self.data.feature_noise * deviation * noise


def _longer(steps: Tensor, time: int) -> Tensor:
    """Time steps (t, ...) with the last one repeated up to `time`."""
    return torch.cat([steps, steps[-1:].expand(time - len(steps), -1)])
