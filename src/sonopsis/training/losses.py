"""Every loss of every stage."""

import torch
from torch import Tensor
from torch.nn import functional

from sonopsis.captioning.config import ConnectorConfig
from sonopsis.training.tokens import PADDING


def tag_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy of logits and targets (B, labels), summed over labels, averaged over the batch.

    Targets that are NaN are not known and count nothing.
    """
    known = ~labels.isnan()
    loss = functional.binary_cross_entropy_with_logits(logits.float()[known], labels[known], reduction="sum")
    return loss / len(labels)


def caption_loss(words: Tensor, ids: Tensor, label_smoothing: float) -> Tensor:
    """Mean cross-entropy of the next word: logits (B, W, V) of ids (B, W), of which PADDING is left out."""
    return functional.cross_entropy(
        words.float().flatten(0, 1), ids.flatten(), ignore_index=PADDING, label_smoothing=label_smoothing
    )


def connector_losses(
    recognised: Tensor, labels: Tensor, sounding: Tensor | None, config: ConnectorConfig
) -> tuple[Tensor, Tensor]:
    """Losses of what a connector recognises along the prefix, logits (B, L, labels): of the clip, and in time.

    The summary, where there is one, knows of all labels (B, labels), as the tags do. With the layout concat the other
    vectors are time steps, which know of what sounds then, (B, t, labels); one of these two losses may be missing, and
    is 0 then. In the other layouts a vector is a patch, so that each label of the clip must be found in some patch.
    """
    steps = recognised[:, :-1] if config.summary else recognised
    whole = tag_loss(recognised[:, -1], labels) if config.summary else recognised.new_zeros(())
    if config.layout != "concat":
        return whole + tag_loss(steps.amax(dim=1), labels), recognised.new_zeros(())
    if sounding is None:
        return whole, recognised.new_zeros(())
    return whole, tag_loss(steps.flatten(0, 1), sounding.flatten(0, 1))


def reconstruction_loss(predicted: Tensor, patches: Tensor, visible: Tensor) -> Tensor:
    """The mean squared error over hidden patches alone, `predicted` and `patches` (B, N, values), of which the cells
    `visible` (B, K) were shown.

    The target is each patch less its mean, by its deviation (arXiv 2207.06405, section 3.3, and MAE's `norm_pix_loss`).
    """
    centred = patches - patches.mean(dim=-1, keepdim=True)
    target = centred / (patches.var(dim=-1, keepdim=True) + 1e-6).sqrt()
    errors = (predicted.float() - target).square().mean(dim=-1)  # (B, N)
    hidden = torch.ones_like(errors).scatter(1, visible, 0.0)
    return (errors * hidden).sum() / hidden.sum()
