"""A head trained on the outputs of a frozen encoder, which are computed once: seconds instead of minutes."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sonopsis.data.clips import ClipBank
from sonopsis.encoder import Head
from sonopsis.encoder.tagger import Tagger
from sonopsis.mel import MelConfig
from sonopsis.pruning import Pruning
from sonopsis.training.batches import Mixtures
from sonopsis.training.config import DataConfig
from sonopsis.training.losses import tag_loss

BATCH = 32  # examples the encoder reads at once
FEWEST, MOST, PER_CLIP = 640, 3200, 6  # examples: so many for each clip, within these bounds
STEPS = 400  # of the head, on all examples at once
LEARNING_RATE = 1e-2
WEIGHT_DECAY = 1e-2


@dataclass(frozen=True)
class Features:
    """What a head reads, and what it should say."""

    pooled: Tensor  # (C, D) float32
    labels: Tensor  # (C, labels) 0 or 1


def example_count(clips: int) -> int:
    """How many mixtures to make of so many clips: a multiple of the batch."""
    wanted = min(max(PER_CLIP * clips, FEWEST), MOST)
    return -(-wanted // BATCH) * BATCH


@torch.inference_mode()
def compute_features(
    tagger: Tagger, bank: ClipBank, labels: list[str], mel: MelConfig, pruning: Pruning | None, *, count: int, seed: int
) -> Features:
    """The encoder's pooled output for `count` mixtures of clips, changed as in training (a multiple of BATCH)."""
    tagger.eval()
    source = Mixtures(bank, labels, mel, DataConfig(), BATCH, seed)
    pooled, targets = [], []
    for step in range(count // BATCH):
        batch = source.batch(step)
        pooled.append(tagger.encoder.pool(tagger.encoder(batch.mel, pruning, pooled_only=True)).float())
        targets.append(batch.labels)
    return Features(torch.cat(pooled), torch.cat(targets))


def fit_head(head: Head, features: Features, steps: int = STEPS) -> float:
    """Train a head in place on cached features, all at once in each step; returns the last loss."""
    pooled, labels = features.pooled.clone(), features.labels.clone()  # inference tensors take part in no graph
    optimizer = torch.optim.AdamW(head.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    loss = pooled.new_zeros(())
    for _ in range(steps):
        optimizer.zero_grad(set_to_none=True)
        loss = tag_loss(head(pooled), labels)
        loss.backward()
        optimizer.step()
        rates.step()
    return loss.item()
