"""The tagging stage: encoder and head learn labels from short mixtures of real clips, pruned while they learn."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sonopsis.data.clips import Clip, ClipBank
from sonopsis.encoder.pooling import LayerStatistics
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
from sonopsis.training.recordings import open_unlabelled
from sonopsis.training.start import Start, check_labels, choose_labels
from sonopsis.training.teacher import Teacher

VALIDATION_CLIPS = 12  # of each label
STATISTICS_BATCH, STATISTICS_BATCHES = 16, 24  # examples that tell the scale of what a head reads of all blocks
RARE = -4.0  # first logit of each of hundreds of classes, of which a clip has few


class Tagging:
    """The tagging stage; `sonopsis.training.loop.Task`."""

    criterion = "map"

    def __init__(self, config: TrainConfig, start: Start, train: ClipBank, validation: ClipBank) -> None:
        self.config, self.start, self.train, self.validation = config, start, train, validation
        self.labels = choose_labels(config, start, train.rows)
        check_labels(self.labels, validation.rows)
        self.teacher = None if config.teacher is None else Teacher(config.teacher.folder)
        taught = [] if self.teacher is None else [f"teacher's {name}" for name in self.teacher.names]
        # The teacher's classes are rows of the same head, behind the labels; the saved model has few of them or none.
        self.module = build_tagger(start, self.labels + taught)
        if taught and self.module.head is not None:
            new = [place for place, name in enumerate(self.labels + taught) if name not in start.labels]
            with torch.no_grad():
                self.module.head.linear.bias[new] = RARE
        self.kept = list(range(len(self.labels)))
        trained = {label for row in train.rows for label in row.labels}
        # What no recording teaches is learned from the teacher, if it has a class of the name.
        self.borrowed = [
            (place, self.teacher.names.index(label))
            for place, label in enumerate(self.labels)
            if self.teacher is not None and label not in trained and label in self.teacher.names
        ]
        share = 0.0 if config.teacher is None else config.teacher.unlabelled
        self.unlabelled = (share, open_unlabelled(config)) if share else None
        self.distilled = [] if config.teacher is None else list(config.teacher.labels)
        for name in self.distilled:
            assert self.teacher is not None
            if name not in self.teacher.names:
                raise ValueError(f"teacher.labels: the teacher has no class {name!r}; its names are AudioSet's")
            if name in self.labels:
                raise ValueError(f"teacher.labels: {name!r} is one of the run's own labels")
            self.kept.append(len(self.labels) + self.teacher.names.index(name))
        self.fixed = freeze(self.module.encoder, config.encoder)
        if self.module.encoder.statistics is not None and (
            start.tagger is None or start.tagger.encoder.statistics is None
        ):
            self._fit_statistics(self.module.encoder.statistics)

    def _fit_statistics(self, statistics: LayerStatistics) -> None:
        """Find the scale of what a head reads of all blocks, on examples as they are in training."""
        source = Mixtures(self.train, self.labels, self.start.mel, self.config.data, STATISTICS_BATCH, self.config.seed)
        self.module.eval()
        with torch.inference_mode():
            found = [self.module.encoder(source.batch(step).mel).layers for step in range(STATISTICS_BATCHES)]
            statistics.fit(torch.cat(found))

    def batches(self, first: int, last: int) -> Iterator[Batch]:
        """Mixtures of training clips."""
        config = self.config
        source = Mixtures(
            self.train,
            self.labels,
            self.start.mel,
            config.data,
            config.batch_size,
            config.seed,
            self.teacher,
            self.unlabelled,
        )
        return stream(source.batch, first, last, config.data.workers)

    def loss(self, module: nn.Module, batch: Batch, progress: float) -> tuple[Tensor, dict[str, float]]:
        """Binary cross-entropy summed over labels, averaged over clips; the same for what the teacher hears."""
        pruning = training_pruning(self.start.encoder.depth, self.config.pruning, progress)
        logits, own = module(batch.mel, pruning), len(self.labels)
        labels = batch.labels
        if batch.heard is None or self.config.teacher is None:
            loss = tag_loss(logits[:, :own], labels)
            return loss, {"loss": loss.item()}
        for place, theirs in self.borrowed:
            labels[:, place] = batch.heard[:, theirs]
        loss = tag_loss(logits[:, :own], labels)
        taught = tag_loss(logits[:, own:], batch.heard)
        return loss + self.config.teacher.weight * taught, {"loss": loss.item(), "teacher": taught.item()}

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
        """A model folder that tags, with the labels of the run and those of the teacher that were asked for."""
        assert isinstance(module, Tagger) and module.head is not None
        labels = self.labels + self.distilled
        taught = [self.labels[place] for place, _ in self.borrowed] + self.distilled
        tagger = Tagger(module.encoder.config, len(labels))
        assert tagger.head is not None
        tagger.encoder.load_state_dict(module.encoder.state_dict())
        tagger.head.norm.load_state_dict(module.head.norm.state_dict())
        with torch.no_grad():
            tagger.head.linear.weight.copy_(module.head.linear.weight[self.kept])
            tagger.head.linear.bias.copy_(module.head.linear.bias[self.kept])
        config = ModelConfig(
            labels, module.encoder.config, keep_rate=self.config.pruning.used_rate, distilled_labels=taught
        )
        save(tagger, folder, config, self.start.mel)


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
    device = next(tagger.parameters()).device
    for i, row in enumerate(chosen):
        targets[i, [list(labels).index(name) for name in row.labels]] = 1.0
        heard = torch.from_numpy(mel_input(bank.part(row), mel)).to(device)
        scores[i] = tagger(heard, pruning)[0, : len(labels)].float().cpu().numpy()
    return targets, scores
