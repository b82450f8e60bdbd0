"""Stage 1: the encoder and its head learn labels from short mixtures of real clips, pruned while they learn."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sonopsis.data.clips import Clip, ClipBank
from sonopsis.encoder import PRESETS, EncoderConfig
from sonopsis.encoder.tagger import Tagger
from sonopsis.folder import ModelConfig
from sonopsis.mel import MelConfig, mel_input
from sonopsis.metrics.tagging import balanced_accuracy, mean_average_precision
from sonopsis.modules import save
from sonopsis.pruning import Pruning, uniform
from sonopsis.pruning.schedule import keep_rate_at
from sonopsis.scenes.vocabulary import LEAVES
from sonopsis.training.batches import Batch, Mixtures, stream
from sonopsis.training.config import PruningConfig, TrainConfig

MEL = MelConfig(frames=1024, mean=-9.0, std=3.5, padding="clip_min", subtract_mean=True, multiple=16)


def encoder_config(config: TrainConfig) -> EncoderConfig:
    """The preset `small` with the run's changes."""
    return replace(PRESETS["small"], **config.encoder)


def random_pruning(depth: int, config: PruningConfig, progress: float) -> Pruning | None:
    """A keep rate between the schedule's and 1, so that one model serves every rate in between.

    Tenths, because matrix products of each new shape are compiled first, which costs more than a product itself.
    """
    length = config.shrink_end - config.shrink_start
    lowest = keep_rate_at(progress, config.keep_rate, config.shrink_start, length)
    return uniform(depth, round(random.uniform(lowest, 1.0), 1))


class Tagging:
    """The tagging stage; `sonopsis.training.loop.Task`."""

    def __init__(self, config: TrainConfig, train: ClipBank, validation: ClipBank) -> None:
        self.config, self.train, self.validation = config, train, validation
        self.labels = list(LEAVES)
        self.module = Tagger(encoder_config(config), len(self.labels))

    def batches(self, first: int, last: int) -> Iterator[Batch]:
        """Mixtures of training clips."""
        config = self.config
        source = Mixtures(self.train, self.labels, MEL, config.data, config.batch_size, config.seed)
        return stream(source.batch, first, last, config.data.workers)

    def loss(self, module: nn.Module, batch: Batch, progress: float) -> tuple[Tensor, dict[str, float]]:
        """Binary cross-entropy summed over labels, averaged over clips."""
        pruning = random_pruning(self.module.encoder.config.depth, self.config.pruning, progress)
        loss = tag_loss(module(batch.mel, pruning), batch.labels)
        return loss, {"loss": loss.item()}

    def validate(self, module: nn.Module) -> dict[str, float]:
        """mAP and balanced accuracy over whole clips of the validation sources, at keep rate 0.7."""
        assert isinstance(module, Tagger)
        targets, scores = tag_clips(module, self.validation, self.labels, MEL, keep_rate=0.7, per_label=12)
        return {
            "map": mean_average_precision(targets, scores),
            "balanced_accuracy": balanced_accuracy(targets.argmax(1), scores.argmax(1)),
            "clips": len(targets),
        }

    def export(self, module: nn.Module, folder: Path) -> None:
        """A model folder that tags."""
        assert isinstance(module, Tagger)
        config = ModelConfig(labels=self.labels, encoder=asdict(module.encoder.config), keep_rate=0.7)
        save(module, folder, config, MEL)


def tag_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy (B, labels) summed over labels, averaged over the batch."""
    return functional.binary_cross_entropy_with_logits(logits.float(), labels, reduction="sum") / len(labels)


@torch.inference_mode()
def tag_clips(
    tagger: Tagger, bank: ClipBank, labels: Sequence[str], mel: MelConfig, *, keep_rate: float, per_label: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Targets and scores (clips, labels) of a bank's clips: the first `per_label` of each label by hash (None: all)."""
    rows = sorted((row for row in bank.rows if row.labels), key=lambda row: row.sha256)
    taken: dict[str, int] = {}
    chosen: list[Clip] = []
    for row in rows:
        label = row.labels[0]
        taken[label] = taken.get(label, 0) + 1
        if per_label is None or taken[label] <= per_label:
            chosen.append(row)
    tagger.eval()
    pruning = uniform(tagger.encoder.config.depth, keep_rate)
    targets = np.zeros((len(chosen), len(labels)), np.float32)
    scores = np.zeros_like(targets)
    for i, row in enumerate(chosen):
        targets[i, [list(labels).index(name) for name in row.labels]] = 1.0
        scores[i] = tagger(torch.from_numpy(mel_input(bank.read(row.path), mel)), pruning)[0].float().numpy()
    return targets, scores
