"""The masked stage: an encoder learns, without labels, to fill in the hidden patches of any recording (AudioMAE)."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sonopsis.data.clips import ClipBank
from sonopsis.encoder.tagger import Tagger
from sonopsis.folder import ModelConfig
from sonopsis.modules import save
from sonopsis.training.autoencoder import MaskedAutoencoder, patch_values
from sonopsis.training.batches import Batch, stream
from sonopsis.training.building import build_tagger
from sonopsis.training.config import TrainConfig
from sonopsis.training.crops import Crops
from sonopsis.training.losses import reconstruction_loss
from sonopsis.training.optimizer import freeze
from sonopsis.training.recordings import open_unlabelled
from sonopsis.training.start import Start
from sonopsis.unfilled import unfilled

VALIDATION_CLIPS = 256
VALIDATION_BATCH = 32
VALIDATION_SEED = 1  # of excerpts and masks; the same in every run


class Masked:
    """Masked pretraining (arXiv 2207.06405); `sonopsis.training.loop.Task`."""

    criterion = "explained"

    def __init__(self, config: TrainConfig, start: Start, train: ClipBank, validation: ClipBank) -> None:
        """Raises ValueError when patches of the encoder overlap, or when nothing of it would be trained."""
        self.config, self.start = config, start
        check_patches(start)
        if config.encoder.frozen:
            raise ValueError("encoder.train: stage masked trains the encoder and saves nothing else; do not freeze it")
        self.module = MaskedAutoencoder(build_tagger(start, []).encoder, config.masked)
        self.fixed = freeze(self.module.encoder, config.encoder)
        # A manifest or folder of one's own says itself what is heard.
        own = config.data.manifest is not None or config.data.folder is not None
        self.train = self._crops([train] if own else [train, open_unlabelled(config)], config.batch_size, config.seed)
        self.validation = self._crops([validation], VALIDATION_BATCH, VALIDATION_SEED)

    def _crops(self, banks: list[ClipBank], size: int, seed: int) -> Crops:
        config = self.config
        return Crops(banks, self.start.encoder, self.start.mel, config.data, config.masked, size, seed)

    def batches(self, first: int, last: int) -> Iterator[Batch]:
        """Excerpts of training recordings, each with the patches that it shows."""
        return stream(self.train.batch, first, last, self.config.data.workers)

    def loss(self, module: nn.Module, batch: Batch, progress: float) -> tuple[Tensor, dict[str, float]]:
        """The mean squared error of the hidden patches, each normalised by its own mean and deviation."""
        assert batch.visible is not None
        predicted = module(batch.mel, batch.visible)
        patches = patch_values(batch.mel, self.start.encoder.patch)
        loss = reconstruction_loss(predicted, patches, batch.visible)
        return loss, {"loss": loss.item()}

    @torch.inference_mode()
    def validate(self, module: nn.Module) -> dict[str, float]:
        """The loss on validation recordings, always of the same excerpts and masks, and how much of the variation in
        hidden patches is explained: 1 minus the loss as a share of that of predicting each patch's mean."""
        device = next(module.parameters()).device
        clips = sorted(self.validation.clips, key=lambda clip: clip[1].sha256)[:VALIDATION_CLIPS]
        loss = constant = 0.0
        for first in range(0, len(clips), VALIDATION_BATCH):
            some = clips[first : first + VALIDATION_BATCH]
            batch = self.validation.heard(np.random.default_rng((VALIDATION_SEED, first)), some).to(device)
            assert batch.visible is not None
            predicted = module(batch.mel, batch.visible)
            patches = patch_values(batch.mel, self.start.encoder.patch)
            loss += len(some) * reconstruction_loss(predicted, patches, batch.visible).item()
            nothing = torch.zeros_like(predicted)
            constant += len(some) * reconstruction_loss(nothing, patches, batch.visible).item()
        if not clips:
            return {"clips": 0}
        return {"loss": loss / len(clips), "explained": 1 - loss / constant, "clips": len(clips)}

    def export(self, module: nn.Module, folder: Path) -> None:
        """A model folder with the encoder alone: it has no labels, and tagging can start from it."""
        assert isinstance(module, MaskedAutoencoder)
        with unfilled():
            tagger = Tagger(module.encoder.config, 0)
        tagger.encoder = module.encoder
        save(tagger, folder, ModelConfig([], module.encoder.config), self.start.mel)


def check_patches(start: Start) -> None:
    """Raise ValueError when what an encoder makes of a patch depends on other patches, which could not be hidden."""
    encoder = start.encoder
    if encoder.stem != "patch" or encoder.patch != encoder.stride or encoder.layer_weights:
        raise ValueError(
            f"model: stage masked needs an encoder that reads every patch by itself, and {start.name} has stem "
            f"{encoder.stem}, patches of {encoder.patch} and a stride of {encoder.stride}; with the preset small, set "
            "`encoder.stem: patch`"
        )
