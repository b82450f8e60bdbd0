"""The tagging stage: encoder and head learn labels from short mixtures of real clips, pruned while they learn."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sonopsis.data.clips import Clip, ClipBank
from sonopsis.encoder.tagger import Tagger
from sonopsis.folder import ModelConfig
from sonopsis.mel import MelConfig, mel_input
from sonopsis.metrics.tagging import balanced_accuracy, mean_average_precision
from sonopsis.modules import save
from sonopsis.pruning import Pruning
from sonopsis.training.batches import Batch, Mixtures, stream
from sonopsis.training.building import build_tagger
from sonopsis.training.config import TrainConfig
from sonopsis.training.losses import tag_loss
from sonopsis.training.optimizer import freeze
from sonopsis.training.rates import training_pruning, validation_pruning
from sonopsis.training.start import Start, check_labels, choose_labels

VALIDATION_CLIPS = 12  # of each label


class Tagging:
    """The tagging stage; `sonopsis.training.loop.Task`."""

    criterion = "map"

    def __init__(self, config: TrainConfig, start: Start, train: ClipBank, validation: ClipBank) -> None:
        self.config, self.start, self.train, self.validation = config, start, train, validation
        self.labels = choose_labels(config, start, train.rows)
        check_labels(self.labels, validation.rows)
        self.module = build_tagger(start, self.labels)
        self.fixed = freeze(self.module.encoder, config.encoder)

    def batches(self, first: int, last: int) -> Iterator[Batch]:
        """Mixtures of training clips."""
        config = self.config
        source = Mixtures(self.train, self.labels, self.start.mel, config.data, config.batch_size, config.seed)
        return stream(source.batch, first, last, config.data.workers)

    def loss(self, module: nn.Module, batch: Batch, progress: float) -> tuple[Tensor, dict[str, float]]:
        """Binary cross-entropy summed over labels, averaged over clips."""
        pruning = training_pruning(self.start.encoder.depth, self.config.pruning, progress)
        loss = tag_loss(module(batch.mel, pruning), batch.labels)
        return loss, {"loss": loss.item()}

    def validate(self, module: nn.Module) -> dict[str, float]:
        """mAP and balanced accuracy over whole clips of the validation sources, pruned like the saved model."""
        assert isinstance(module, Tagger)
        pruning = validation_pruning(self.start.encoder.depth, self.config.pruning)
        targets, scores = tag_clips(module, self.validation, self.labels, self.start.mel, pruning)
        if not len(targets):
            return {"clips": 0}
        return {
            "map": mean_average_precision(targets, scores),
            "balanced_accuracy": balanced_accuracy(targets.argmax(1), scores.argmax(1)),
            "clips": len(targets),
        }

    def export(self, module: nn.Module, folder: Path) -> None:
        """A model folder that tags."""
        assert isinstance(module, Tagger)
        config = ModelConfig(self.labels, module.encoder.config, keep_rate=self.config.pruning.used_rate)
        save(module, folder, config, self.start.mel)


@torch.inference_mode()
def tag_clips(
    tagger: Tagger,
    bank: ClipBank,
    labels: Sequence[str],
    mel: MelConfig,
    pruning: Pruning | None,
    per_label: int | None = VALIDATION_CLIPS,
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
    targets = np.zeros((len(chosen), len(labels)), np.float32)
    scores = np.zeros_like(targets)
    for i, row in enumerate(chosen):
        targets[i, [list(labels).index(name) for name in row.labels]] = 1.0
        scores[i] = tagger(torch.from_numpy(mel_input(bank.read(row.path), mel)), pruning)[0].float().numpy()
    return targets, scores
