"""Losses against the formulas they stand for."""

import math

import numpy as np
import pytest
import torch

from sonopsis.captioning.config import ConnectorConfig, Layout
from sonopsis.training.losses import caption_loss, connector_losses, reconstruction_loss, tag_loss
from sonopsis.training.tokens import PADDING


def cross_entropy(logit: float, target: float) -> float:
    """Binary cross-entropy of one logit."""
    p = 1 / (1 + math.exp(-logit))
    return -(target * math.log(p) + (1 - target) * math.log(1 - p))


def test_tags_are_summed_over_labels_and_averaged_over_clips() -> None:
    logits, labels = torch.tensor([[1.0, -2.0], [0.5, 3.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    by_hand = sum(
        cross_entropy(x, y) for x, y in zip(logits.flatten().tolist(), labels.flatten().tolist(), strict=True)
    )
    assert tag_loss(logits, labels).item() == pytest.approx(by_hand / 2)


def test_padding_of_captions_does_not_count() -> None:
    torch.manual_seed(0)
    words, ids = torch.randn(1, 3, 5), torch.tensor([[2, 4, PADDING]])
    logs = words.log_softmax(-1)
    assert caption_loss(words, ids, 0.0).item() == pytest.approx(-(logs[0, 0, 2] + logs[0, 1, 4]).item() / 2)


def config(layout: Layout = "concat", summary: bool = True) -> ConnectorConfig:
    return ConnectorConfig(8, 8, 4, layout, summary, labels=2)


LABELS = torch.tensor([[1.0, 0.0]])
SOUNDING = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])  # the first label in the first of two steps
RIGHT = torch.tensor([[[20.0, -20.0], [-20.0, -20.0], [20.0, -20.0]]])  # both steps, then the summary


def test_time_steps_and_summary_have_targets_of_their_own() -> None:
    whole, timing = connector_losses(RIGHT, LABELS, SOUNDING, config())
    assert whole.item() == pytest.approx(0, abs=1e-6) and timing.item() == pytest.approx(0, abs=1e-6)
    late = RIGHT[:, [1, 0, 2]]
    whole, timing = connector_losses(late, LABELS, SOUNDING, config())
    assert whole.item() == pytest.approx(0, abs=1e-6) and timing.item() == pytest.approx(20, abs=1e-3)
    whole, _ = connector_losses(-RIGHT, LABELS, SOUNDING, config())
    assert whole.item() == pytest.approx(40, abs=1e-3)


def test_without_a_summary_only_the_time_steps_count() -> None:
    whole, timing = connector_losses(RIGHT[:, :2], LABELS, SOUNDING, config(summary=False))
    assert whole.item() == 0 and timing.item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("layout", ["time_major", "frequency_major"])
def test_patches_must_name_each_label_somewhere(layout: Layout) -> None:
    patches = torch.tensor([[[-20.0, -20.0], [-20.0, -20.0], [20.0, -20.0], [-20.0, -20.0]]])
    whole, timing = connector_losses(patches, LABELS, SOUNDING, config(layout, summary=False))
    assert whole.item() == pytest.approx(0, abs=1e-6) and timing.item() == 0
    whole, _ = connector_losses(-patches[:, 2:3], LABELS, SOUNDING, config(layout, summary=False))
    assert whole.item() == pytest.approx(40, abs=1e-3)


def test_hidden_patches_are_compared_with_themselves_less_mean_by_deviation() -> None:
    rng = np.random.default_rng(0)
    patches, predicted = rng.normal(3, 2, (2, 5, 6)), rng.normal(0, 1, (2, 5, 6))
    visible = np.array([[0, 3], [1, 4]])
    errors = []
    for clip in range(2):
        for cell in set(range(5)) - set(visible[clip].tolist()):
            values = patches[clip, cell]
            target = (values - values.mean()) / np.sqrt(values.var(ddof=1) + 1e-6)
            errors += [(p - t) ** 2 for p, t in zip(predicted[clip, cell], target, strict=True)]
    loss = reconstruction_loss(*map(torch.from_numpy, (predicted.astype(np.float32), patches, visible)))
    assert loss.item() == pytest.approx(sum(errors) / len(errors), rel=1e-6)


def test_neither_visible_patches_nor_the_level_of_hidden_ones_count() -> None:
    torch.manual_seed(0)
    patches, predicted, visible = torch.randn(1, 4, 6), torch.randn(1, 4, 6), torch.tensor([[2]])
    loss = reconstruction_loss(predicted, patches, visible)
    assert reconstruction_loss(predicted, 3 * patches + 5, visible).item() == pytest.approx(loss.item(), rel=1e-4)
    predicted[0, 2] += 9.0
    assert reconstruction_loss(predicted, patches, visible).item() == loss.item()
    target = (patches - patches.mean(-1, keepdim=True)) / patches.std(-1, keepdim=True)
    assert reconstruction_loss(target, patches, visible).item() < 1e-9
    still = torch.full((1, 4, 6), 2.5)  # padding: no deviation to divide by
    assert reconstruction_loss(torch.zeros(1, 4, 6), still, visible).item() == 0.0
