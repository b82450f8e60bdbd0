"""Scenes that a frozen encoder hears once: kept in files, from which batches of many epochs are made.

    OUTPUT/scenes/KEY/000000.safetensors ...    16 scenes each: what connector and head read of them, and their facts

KEY is a digest of everything that decides what is in the files: the encoder's weights, the recordings, how scenes are
composed and changed, the keep rates. So files of another encoder or other settings are never read. A run that was
stopped goes on after the last whole file, and more scenes are added to those that are there.
"""

import hashlib
import json
import os
import random
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor

from sonopsis.captioning.captioner import Captioner
from sonopsis.captioning.connector import Heard
from sonopsis.scenes.scene import Facts, Scene
from sonopsis.training.batches import Batch, Scenes, something_true, stream
from sonopsis.training.config import DataConfig, TrainConfig
from sonopsis.training.rates import training_pruning
from sonopsis.training.tokens import encode_answers

FOLDER = "scenes"  # in a run's output
IN_A_FILE = 16  # scenes that the encoder hears together
GROUP = 8  # batches whose scenes are drawn together and sorted by length, so that little is padded
REPORT = 32  # files after which one line says how many there are
VERSION = 2  # of the files
# Settings that do not decide what is heard.
ELSEWHERE = (
    "root",
    "manifest",
    "folder",
    "cache",
    "captions",
    "workers",
    "scenes",
    "feature_noise",
    "feature_drop",
    "questions",
)


def features_folder(captioner: Captioner, source: Scenes, config: TrainConfig) -> Path:
    """Where the files of a run are: a folder of its output, named for all that decides what is in them."""
    reads = captioner.connector.config
    data = {name: value for name, value in asdict(config.data).items() if name not in ELSEWHERE}
    facts = {
        "version": VERSION,
        "encoder": captioner.tagger.encoder.config.to_dict(),
        "front end": asdict(source.mel),
        "connector": [reads.pool, reads.pool_frequency, reads.blocks, reads.fills],
        "labels": source.labels,
        "data": data,
        "pruning": asdict(config.pruning),
        "precision": config.precision,
        "seed": source.seed,
        "recordings": [(row.sha256, row.start, row.labels) for row in source.bank.rows],
        "scenes": repr(source.of_step(0)),  # changes with the rules by which scenes are composed and described
    }
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name, tensor in captioner.tagger.encoder.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return Path(config.output) / FOLDER / digest.hexdigest()[:16]


def hear_scenes(captioner: Captioner, source: Scenes, folder: Path, config: TrainConfig) -> list[Path]:
    """The files of the first `data.scenes` scenes of `source`; those that are missing are written.

    Each file has a keep rate of its own, drawn as in training once the lower bound has shrunk.
    """
    assert config.data.scenes is not None
    files = [folder / f"{number:06}.safetensors" for number in range(-(-config.data.scenes // IN_A_FILE))]
    missing = [number for number, file in enumerate(files) if not file.is_file()]
    if not missing:
        return files
    folder.mkdir(parents=True, exist_ok=True)
    encoder = captioner.tagger.encoder.eval()
    device = next(encoder.parameters()).device
    half = torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16")
    began, last = time.perf_counter(), missing[-1]
    for number, batch in enumerate(stream(source.batch, missing[0], last + 1, config.data.workers), missing[0]):
        draw = random.Random(f"{source.seed} {number}").uniform
        pruning = training_pruning(encoder.config.depth, config.pruning, 1.0, draw)
        with torch.inference_mode(), half:
            heard = captioner.hear(batch.mel.to(device), pruning)
        _write(files[number], heard, batch, source.of_step(number))
        if (number + 1) % REPORT == 0 or number == last:
            record = {"scenes": (number + 1) * IN_A_FILE, "seconds": round(time.perf_counter() - began, 1)}
            print(json.dumps(record), file=sys.stderr, flush=True)
    return files


def _write(file: Path, heard: Heard, batch: Batch, scenes: list[Scene]) -> None:
    """Write one file, whole or not at all."""
    assert batch.sounding is not None
    tensors = {name: getattr(heard, name).half().cpu().contiguous() for name in ("steps", "summary", "pooled")}
    tensors |= {"labels": batch.labels.bool(), "sounding": batch.sounding.bool()}
    scratch = file.with_suffix(f".{os.getpid()}.part")  # several runs of a sweep may hear the same scenes
    captions = [scene.captions for scene in scenes]
    facts = [(scene.facts.type, scene.facts.labels, scene.facts.count) for scene in scenes]
    save_file(tensors, scratch, {"captions": json.dumps(captions), "facts": json.dumps(facts)})
    scratch.replace(file)


class HeardScenes:
    """Batches of scenes that were heard before: `batch(step)`, a function of seed and step alone.

    Every epoch goes through the scenes in another order; a remainder that fills no batch waits for another epoch.
    """

    def __init__(self, files: list[Path], size: int, seed: int, tokenizer: Tokenizer, data: DataConfig) -> None:
        self.seed, self.tokenizer, self.data = seed, tokenizer, data
        self._places: list[tuple[Path, int]] = []  # of each scene: its file, its row there
        self._said: list[tuple[list[str], Facts]] = []  # of each scene
        lengths: list[int] = []  # of each scene, in time steps
        for file in files:
            with safe_open(file, "pt") as stored:
                captions, facts = (json.loads(stored.metadata()[name]) for name in ("captions", "facts"))
                lengths += [stored.get_slice("steps").get_shape()[1]] * len(captions)
            self._places += [(file, row) for row in range(len(captions))]
            known = (Facts(kind, tuple(labels), count) for kind, labels, count in facts)
            self._said += zip(captions, known, strict=True)
        assert data.scenes is not None
        count = min(data.scenes, len(lengths))  # the last file may hold more
        self._lengths = np.array(lengths[:count])
        self.size = min(size, count)
        self._epoch: tuple[int, list[list[int]]] | None = None  # the epoch last ordered, and its batches

    def batch(self, step: int) -> Batch:
        """One step's scenes, each with one of its captions, or with a question.

        The last time step of a shorter scene is repeated up to the length of the longest.
        """
        rng = np.random.default_rng((self.seed, step))
        epoch, place = divmod(step, len(self._lengths) // self.size)
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = epoch, self._ordered(epoch)
        scenes = self._epoch[1][place]
        time = int(self._lengths[scenes].max())
        steps, summary, pooled, labels, sounding = (
            torch.stack(rows) for rows in zip(*(self._read(scene, time) for scene in scenes), strict=True)
        )
        said = [something_true(*self._said[scene], self.data.questions, rng) for scene in scenes]
        heard = Heard(self._roughened(steps, rng), self._noisy(summary, rng), pooled)
        return Batch(torch.empty(0), labels, *encode_answers(self.tokenizer, said), sounding, features=heard)

    def _ordered(self, epoch: int) -> list[list[int]]:
        """The scenes of an epoch in batches: at random, but those of a batch have like lengths."""
        rng = np.random.default_rng((self.seed, epoch, 1))
        batches: list[list[int]] = []
        order = rng.permutation(len(self._lengths))
        for first in range(0, len(order), GROUP * self.size):
            group = order[first : first + GROUP * self.size]
            whole = len(group) // self.size * self.size
            group = group[:whole]
            group = group[np.argsort(self._lengths[group], kind="stable")]
            batches += group.reshape(-1, self.size).tolist()
        return [batches[i] for i in rng.permutation(len(batches))]

    def _read(self, scene: int, time: int) -> tuple[Tensor, ...]:
        """Steps (time, (1 + blocks) * F * D), summary (D,), pooled (D,), labels (labels,) and sounding
        (time, labels) of a scene."""
        file, row = self._places[scene]
        with safe_open(file, "pt") as stored:
            steps, summary, pooled, labels, sounding = (
                stored.get_slice(name)[row].float() for name in ("steps", "summary", "pooled", "labels", "sounding")
            )
        return _longer(steps, time), summary, pooled, labels, _longer(sounding, time)

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
