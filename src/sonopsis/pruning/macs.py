"""Multiply-accumulates of an encoder, counted from its shapes."""

from dataclasses import dataclass
from itertools import pairwise
from math import prod

from sonopsis.encoder.config import EncoderConfig
from sonopsis.encoder.stem import conv_layers
from sonopsis.pruning.config import Pruning, kept_count, uniform


@dataclass(frozen=True)
class Macs:
    """Multiply-accumulates in G for one clip, stem and head included."""

    reference: float  # as arXiv 2504.01690 counts: a pruning block computes all of its attention
    executed: float  # what `Encoder.forward(..., pooled_only=True)` and the head really compute


def encoder_macs(
    config: EncoderConfig, frames: int | None = None, pruning: Pruning | float | None = None, labels: int = 0
) -> Macs:
    """MACs of tagging one clip of `frames` Mel frames (None: the encoder's own length).

    `pruning` may be a keep rate for the default blocks; `labels` is the size of the head. The reference count of a
    block that keeps N_out of its N_in tokens is 3 N_in D^2 + 2 N_in^2 D + N_in D^2 + 8 N_out D^2 at an MLP ratio of 4;
    norms, softmax and activations are not counted.
    """
    frames = config.frames if frames is None else frames
    if not isinstance(pruning, Pruning):
        pruning = uniform(config.depth, pruning)
    score = config.score if pruning is None or pruning.score is None else pruning.score
    head = config.width * labels
    reference = executed = stem_macs(config, frames) + head
    counts = [prod(config.grid(frames)), *patch_counts(config, frames, pruning)]
    for block, (patches, kept) in enumerate(pairwise(counts)):
        tokens, survivors = config.prefix_tokens + patches, config.prefix_tokens + kept
        full = _block(config, keys=tokens, queries=tokens, rows=tokens, mlp=survivors)
        reference += full
        last = block == config.depth - 1
        if last and config.pooling != "mean":
            prefix = config.prefix_tokens
            executed += _block(config, keys=tokens, queries=prefix, rows=prefix, mlp=prefix)
        elif last and kept == patches and config.norm == "pre":  # fc1 for patches, fc2 for their mean
            executed += _block(config, keys=tokens, queries=tokens, rows=tokens, mlp=0)
            executed += (patches + 1) * config.width * _hidden(config)
        elif kept == patches:
            executed += full
        elif score == "cls":  # the CLS query and its row of attention, then survivors only
            executed += _block(config, keys=tokens, queries=survivors, rows=survivors, mlp=survivors)
            executed += config.width**2 + tokens * config.width
        else:
            executed += _block(config, keys=tokens, queries=tokens, rows=survivors, mlp=survivors)
    return Macs(reference / 1e9, executed / 1e9)


def patch_counts(config: EncoderConfig, frames: int, pruning: Pruning | None) -> list[int]:
    """Patches left after each block, prefix tokens not counted."""
    rates = {} if pruning is None else pruning.keep
    left, counts = prod(config.grid(frames)), []
    for block in range(config.depth):
        left = kept_count(left, rates.get(block, 1.0))
        counts.append(left)
    return counts


def stem_macs(config: EncoderConfig, frames: int) -> int:
    """MACs of the stem: patch projection, or every convolution down to the patch grid."""
    patches = prod(config.grid(frames))
    if config.stem == "patch":
        return patches * prod(config.patch) * config.width
    time, bins, channels, total = frames, config.mels, 1, 0
    for inputs, channels, (stride_t, stride_f) in conv_layers(config):
        time, bins = time // stride_t, bins // stride_f
        total += time * bins * 9 * inputs * channels
    return total + patches * channels * config.width


def _block(config: EncoderConfig, *, keys: int, queries: int, rows: int, mlp: int) -> int:
    """One block: `keys` tokens have keys and values, `queries` a row of attention, `rows` an output, `mlp` go on."""
    width = config.width
    projections = (2 * keys + queries + rows) * width**2
    attention = (queries + rows) * keys * width  # q k^T, then weights times v
    return projections + attention + 2 * mlp * width * _hidden(config)


def _hidden(config: EncoderConfig) -> int:
    return round(config.width * config.mlp_ratio)
