"""Multiply-accumulates of an encoder, counted from its shapes."""

from dataclasses import dataclass
from itertools import pairwise
from math import prod

from sonopsis.encoder.config import EncoderConfig
from sonopsis.encoder.layers import conv_layers
from sonopsis.pruning.config import Pruning, merge_rounds, uniform


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
    norms, softmax and activations are not counted. Of the reducer "mass" this is the most that a clip can cost.
    """
    frames = config.frames if frames is None else frames
    if not isinstance(pruning, Pruning):
        pruning = uniform(config.depth, pruning) or Pruning({})
    reads, mixes = pruning.reads(config.score), pruning.mixes
    head = config.pooled_width * labels
    reference = executed = stem_macs(config, frames) + head
    counts = [prod(config.grid(frames)), *patch_counts(config, frames, pruning)]
    fused = [int(pruning.reduce == "fuse" and count < counts[0]) for count in counts]
    for block, (patches, kept) in enumerate(pairwise(counts)):
        tokens = config.prefix_tokens + patches + fused[block]
        survivors = config.prefix_tokens + kept + fused[block + 1]
        full = _block(config, keys=tokens, queries=tokens, rows=tokens, mlp=survivors)
        reference += full
        last = block == config.depth - 1
        if last and config.reads_prefix:
            prefix = config.prefix_tokens
            executed += _block(config, keys=tokens, queries=prefix, rows=prefix, mlp=prefix)
        elif last and kept == patches and config.mean_alone:  # fc1 for patches, fc2 for their mean
            executed += _block(config, keys=tokens, queries=tokens, rows=tokens, mlp=0)
            executed += (tokens - config.prefix_tokens + 1) * config.width * _hidden(config)
        elif kept == patches:
            executed += full
        elif reads == "matrix":
            executed += _block(config, keys=tokens, queries=tokens, rows=tokens if mixes else survivors, mlp=survivors)
        else:  # survivors only, after the CLS query and its row of attention if they decide
            executed += full if mixes else _block(config, keys=tokens, queries=survivors, rows=survivors, mlp=survivors)
            executed += config.width**2 + tokens * config.width if reads == "row" else 0
            if pruning.reduce == "merge":
                executed += (
                    sum((n // 2) * (n - n // 2) for n, _ in merge_rounds(patches, kept)) * config.width // config.heads
                )
    if config.pools_by_attention:
        pooling = (counts[-1] + fused[-1]) * config.width * (config.heads + 1)
        reference, executed = reference + pooling, executed + pooling
    return Macs(reference / 1e9, executed / 1e9)


def patch_counts(config: EncoderConfig, frames: int, pruning: Pruning | None) -> list[int]:
    """Patches left after each block, prefix tokens and a fused one not counted."""
    grid = config.grid(frames)
    left, counts = prod(grid), []
    for block in range(config.depth):
        left = left if pruning is None else pruning.count(block, left, grid)
        counts.append(left)
    return counts


def stem_macs(config: EncoderConfig, frames: int) -> int:
    """MACs of the stem: patch projection, or every convolution down to the patch grid."""
    patches = prod(config.grid(frames))
    if config.stem == "patch":
        return patches * prod(config.patch) * config.width
    if config.stem == "conv1d":
        return 3 * config.width * (frames * config.mels + patches * config.width)
    time, bins, channels, total = frames, config.mels, 1, 0
    for layer in conv_layers(config):
        time, bins = time // layer.stride[0], bins // layer.stride[1]
        total += time * bins * 9 * layer.inputs * layer.outputs
        channels = layer.outputs
    return total + patches * channels * config.width


def _block(config: EncoderConfig, *, keys: int, queries: int, rows: int, mlp: int) -> int:
    """One block: `keys` tokens have keys and values, `queries` a row of attention, `rows` an output, `mlp` go on."""
    width = config.width
    projections = (2 * keys + queries + rows) * width**2
    attention = (queries + rows) * keys * width  # q k^T, then weights times v
    return projections + attention + 2 * mlp * width * _hidden(config)


def _hidden(config: EncoderConfig) -> int:
    return round(config.width * config.mlp_ratio)
