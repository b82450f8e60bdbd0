"""What the first block of an encoder reads, as a graph: the stem, the position table and the prefix tokens."""

import numpy as np

from sonopsis.encoder.config import EncoderConfig
from sonopsis.encoder.layers import conv_layers
from sonopsis.encoder.positions import sincos_table, sinusoid_frequencies
from sonopsis.graphs.builder import END, Graph

_BATCH_NORM = ("weight", "bias", "running_mean", "running_var")


def embed(graph: Graph, config: EncoderConfig, scope: str, mel: str, batch: str) -> tuple[str, str]:
    """Normalised log-Mel (B, T, M), and `batch` (1,) -> tokens (B, P + N, D), and (1,) how many patches there are.

    `scope` is put before the parameters' names.
    """
    g, prefix, prefix_tokens = graph, "", config.prefix_tokens
    x = _over_time(g, scope, mel) if config.stem == "conv1d" else _over_patches(g, config, scope, mel)  # (B, N, D)
    cells = g.slice(g.op("Shape", x), 0, 1, 2)
    if prefix_tokens:
        prefix = g.weight(f"{scope}encoder.prefix")
    if config.position == "learned":
        positions = g.weight(f"{scope}encoder.positions")  # (1, P + N, D)
        if prefix_tokens:
            prefix = g.op("Add", prefix, g.slice(positions, 1, 0, prefix_tokens))
        x = g.op("Add", x, g.slice(positions, 1, prefix_tokens, END))
    else:
        table = _sinusoids(g, config) if config.position == "sinusoid" else _sincos(g, config)
        x = g.op("Add", x, g.op("Slice", table, g.constant([0]), cells, g.constant([1])))
    if prefix_tokens:
        shape = g.op("Concat", batch, g.constant([prefix_tokens, config.width]), axis=0)
        x = g.op("Concat", g.op("Expand", prefix, shape), x, axis=1)
    return g.layer_norm(x, f"{scope}encoder.norm_in", config.norm_eps) if config.norm == "post" else x, cells


def _over_patches(g: Graph, config: EncoderConfig, scope: str, mel: str) -> str:
    """The tokens (B, N, D) of `Stem`."""
    x = g.op("Unsqueeze", mel, g.constant([1]))  # (B, 1, T, M)
    stride = list(config.stride)
    if config.stem == "conv":
        stride = [1, 1]
        for layer in conv_layers(config):
            weight = g.weight(f"{scope}encoder.stem.body.{layer.module}.weight")
            x = g.op("Conv", x, weight, strides=list(layer.stride), pads=list(layer.pads))
            names = [f"{scope}encoder.stem.body.{layer.module + 1}.{part}" for part in _BATCH_NORM]
            x = g.op("Gelu", g.op("BatchNormalization", x, *map(g.weight, names), epsilon=1e-5))
    weight, bias = g.weight(f"{scope}encoder.stem.proj.weight"), g.weight(f"{scope}encoder.stem.proj.bias")
    x = g.op("Conv", x, weight, bias, strides=stride)  # (B, D, t, f)
    return g.op("Transpose", g.reshape(x, 0, 0, -1), perm=[0, 2, 1])


def _over_time(g: Graph, scope: str, mel: str) -> str:
    """The tokens (B, N, D) of `WhisperStem`."""
    x = g.op("Transpose", mel, perm=[0, 2, 1])  # (B, M, T)
    for name, stride in (("conv1", 1), ("conv2", 2)):
        weight, bias = (g.weight(f"{scope}encoder.stem.{name}.{part}") for part in ("weight", "bias"))
        x = g.op("Gelu", g.op("Conv", x, weight, bias, strides=[stride], pads=[1, 1]))
    return g.op("Transpose", x, perm=[0, 2, 1])


# Tables of the longest input, which engines compute once, when they open a graph.


def _sincos(g: Graph, config: EncoderConfig) -> str:
    """The sin-cos table (1, N, D) from its rows: half of the width is the time's, half the frequency's."""
    half = config.width // 2
    time, frequency = config.grid(config.frames)
    table = sincos_table((time, frequency), config.width).reshape(1, time, frequency, config.width)
    whole = g.constant([1, time, frequency, half])
    parts = table[:, :1, :, :half], table[:, :, :1, half:]
    return g.reshape(
        g.op("Concat", *(g.op("Expand", g.constant(p), whole) for p in parts), axis=3), 1, -1, config.width
    )


def _sinusoids(g: Graph, config: EncoderConfig) -> str:
    """Whisper's table (1, N, D) from its angles, which are rounded as `sinusoid_table` rounds them."""
    steps = np.arange(config.grid(config.frames)[0], dtype=np.float32)[None, :, None]  # (1, N, 1)
    angles = g.op("Mul", g.constant(steps), g.constant(sinusoid_frequencies(config.width)))  # (1, N, D/2)
    return g.op("Concat", g.op("Sin", angles), g.op("Cos", angles), axis=2)
