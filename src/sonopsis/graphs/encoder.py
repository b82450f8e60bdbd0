"""The pruned encoder as a graph: the mathematics of `sonopsis.encoder`, checked against it by the tests.

    mel (B, T, 128) float32, kept (stages,) int64 -> logits (B, labels), tokens (B, K, D), survivors of each stage

`kept` says how many patches survive each pruning block; as many as there are is no pruning.
"""

from dataclasses import dataclass

import numpy as np

from sonopsis.encoder.config import EncoderConfig
from sonopsis.encoder.layers import conv_layers
from sonopsis.encoder.positions import sincos_table
from sonopsis.graphs.builder import END, Graph
from sonopsis.pruning.config import default_blocks


@dataclass
class Tokens:
    """The values that go from block to block."""

    x: str  # (B, P + K, D)
    index: str | None = None  # (B, K) grid cells; None: all of them
    grid: str | None = None  # (B, N, D) the last state of every patch so far, when it is collected
    averaged: bool = False  # x is the mean over patches, (B, 1, D)


class EncoderGraph:
    """Adds an encoder to a graph."""

    def __init__(self, graph: Graph, config: EncoderConfig, scope: str = "") -> None:
        if config.layer_weights:
            raise ValueError(
                "a graph cannot hold an encoder that sums its layers (layer_weights); use the engine torch"
            )
        self.g = graph
        self.scope = scope  # put before the parameters' names
        self.config = config
        self.blocks = default_blocks(config.depth)
        self.width, self.prefix = config.width, config.prefix_tokens
        self.cells = ""  # (1,) how many patches the input has

    def inputs(self) -> tuple[str, str]:
        """Declare mel (B, T, M) and kept (stages,)."""
        frames = self.config.frames if self.config.position == "learned" else "frames"
        mel = self.g.input("mel", ["batch", frames, self.config.mels])
        return mel, self.g.input("kept", [len(self.blocks)], integer=True)

    def run(self, mel: str, kept: str, *, pooled_only: bool = False, collect: bool = False) -> tuple[Tokens, list[str]]:
        """Tokens after the last block and the final norm, and the survivors (B, K) of each pruning block.

        With `pooled_only` the tokens are only what the head reads: the prefix, or the mean over patches, (B, ., D).
        With `collect` the last state of every patch, dropped or not, is in `grid`.
        """
        g, config = self.g, self.config
        batch = g.slice(g.op("Shape", mel), 0, 0, 1)
        tokens = Tokens(self._embed(mel, batch))
        stages: list[str] = []
        for number in range(config.depth):
            scope = f"{self.scope}encoder.blocks.{number}"
            last = pooled_only and number == config.depth - 1
            if last and config.pooling != "mean":
                tokens.x = self._last_prefix(tokens.x, scope)
            elif number in self.blocks:
                stage = self.blocks.index(number)
                self._prune(tokens, scope, g.slice(kept, 0, stage, stage + 1), batch, collect)
                assert tokens.index is not None
                stages.append(tokens.index)
            elif last and config.norm == "pre":
                tokens.x, tokens.averaged = self._last_mean(tokens.x, scope), True
            else:
                y = self._before_attention(tokens.x, scope)
                q, k, v = (self._heads(part) for part in self._split(g.linear(y, f"{scope}.attn.qkv"), 3))
                x = self._after_attention(tokens.x, self._attend(q, k, v), scope)
                tokens.x = self._feed_forward(x, scope)
        tokens.x = self._norm(tokens.x)
        if collect:
            tokens.grid = self._put(tokens, self.patches(tokens.x), batch)
        return tokens, stages

    def patches(self, x: str) -> str:
        """The patch tokens (B, K, D) of a sequence."""
        return self.g.slice(x, 1, self.prefix, END)

    def pooled(self, tokens: Tokens) -> str:
        """The vector (B, D) that a head reads, as `Encoder.pool`."""
        g = self.g
        if self.config.pooling == "cls":
            return g.op("Squeeze", g.slice(tokens.x, 1, 0, 1), g.constant([1]))
        if self.config.pooling == "cls_dist":
            return g.mean(g.slice(tokens.x, 1, 0, 2), 1)
        return g.mean(tokens.x if tokens.averaged else self.patches(tokens.x), 1)

    def logits(self, tokens: Tokens) -> str:
        """The head (B, labels) on the pooled tokens."""
        g = self.g
        pooled = g.layer_norm(self.pooled(tokens), f"{self.scope}head.norm", self.config.head_norm_eps)
        return g.linear(pooled, f"{self.scope}head.linear")

    def _embed(self, mel: str, batch: str) -> str:
        g, config = self.g, self.config
        x = g.op("Unsqueeze", mel, g.constant([1]))  # (B, 1, T, M)
        stride = list(config.stride)
        if config.stem == "conv":
            stride = [1, 1]
            for layer in conv_layers(config):
                weight = g.weight(f"{self.scope}encoder.stem.body.{layer.module}.weight")
                x = g.op("Conv", x, weight, strides=list(layer.stride), pads=list(layer.pads))
                names = [f"{self.scope}encoder.stem.body.{layer.module + 1}.{part}" for part in _BATCH_NORM]
                x = g.op("Gelu", g.op("BatchNormalization", x, *map(g.weight, names), epsilon=1e-5))
        weight, bias = (
            g.weight(f"{self.scope}encoder.stem.proj.weight"),
            g.weight(f"{self.scope}encoder.stem.proj.bias"),
        )
        x = g.op("Conv", x, weight, bias, strides=stride)  # (B, D, t, f)
        x = g.op("Transpose", g.reshape(x, 0, 0, -1), perm=[0, 2, 1])  # (B, N, D)
        self.cells = g.slice(g.op("Shape", x), 0, 1, 2)
        prefix = g.weight(f"{self.scope}encoder.prefix")
        if config.position == "learned":
            positions = g.weight(f"{self.scope}encoder.positions")  # (1, P + N, D)
            prefix = g.op("Add", prefix, g.slice(positions, 1, 0, self.prefix))
            x = g.op("Add", x, g.slice(positions, 1, self.prefix, END))
        else:
            x = g.op("Add", x, g.op("Slice", self._positions(), g.constant([0]), self.cells, g.constant([1])))
        shape = g.op("Concat", batch, g.constant([self.prefix, self.width]), axis=0)
        x = g.op("Concat", g.op("Expand", prefix, shape), x, axis=1)
        return g.layer_norm(x, f"{self.scope}encoder.norm_in", config.norm_eps) if config.norm == "post" else x

    def _positions(self) -> str:
        """The sin-cos table (1, N, D) of the longest input, from its rows: half of the width is either's own."""
        g, half = self.g, self.width // 2
        time, frequency = self.config.grid(self.config.frames)
        table = sincos_table((time, frequency), self.width).reshape(1, time, frequency, self.width)
        whole = g.constant([1, time, frequency, half])
        parts = table[:, :1, :, :half], table[:, :, :1, half:]
        return g.reshape(
            g.op("Concat", *(g.op("Expand", g.constant(p), whole) for p in parts), axis=3), 1, -1, self.width
        )

    def _prune(self, tokens: Tokens, scope: str, kept: str, batch: str, collect: bool) -> None:
        g = self.g
        y = self._before_attention(tokens.x, scope)
        kv = g.linear(y, f"{scope}.attn.qkv", (self.width, 3 * self.width))
        k, v = (self._heads(part) for part in self._split(kv, 2))
        if self.config.score == "cls":  # one row of attention decides; the rest follows for survivors only
            row = self._weights(self._queries(g.slice(y, 1, 0, 1), scope), k)  # (B, H, 1, P + N)
            choice = self._choose(g.slice(row, 3, self.prefix, END), kept)
            rows = self._with_prefix(choice, batch)
            mixed = self._attend(self._queries(y if collect else self._take(y, rows), scope), k, v)
        else:
            weights = self._weights(self._queries(y, scope), k)  # (B, H, P + N, P + N)
            among = g.slice(g.slice(weights, 3, self.prefix, END), 2, self.prefix, END)
            choice = self._choose(g.mean(among, 2, keep=True), kept)
            rows = self._with_prefix(choice, batch)
            mixed = self._merge(g.op("MatMul", weights, v))
            mixed = mixed if collect else self._take(mixed, rows)
        if collect:
            x = self._after_attention(tokens.x, mixed, scope)
            tokens.grid = self._put(tokens, self._norm(self.patches(x)), batch)
            x = self._take(x, rows)
        else:
            x = self._after_attention(self._take(tokens.x, rows), mixed, scope)
        tokens.index = choice if tokens.index is None else g.op("GatherElements", tokens.index, choice, axis=1)
        tokens.x = self._feed_forward(x, scope)

    def _choose(self, score: str, kept: str) -> str:
        """Positions (B, K), ascending, of the highest scores (B, H, 1, N) in the mean over heads, as `topk`."""
        g = self.g
        mean = g.op("Squeeze", g.mean(score, 1), g.constant([1]))  # (B, N)
        _, best = g.ops("TopK", 2, mean, kept, axis=1, largest=1, sorted=1)
        return g.ops("TopK", 2, best, kept, axis=1, largest=0, sorted=1)[0]

    def _with_prefix(self, choice: str, batch: str) -> str:
        """Rows (B, P + K, 1) of a sequence: its prefix, then the chosen patches."""
        g = self.g
        rows = g.op("Add", choice, g.constant(self.prefix))
        if self.prefix:
            shape = g.op("Concat", batch, g.constant([self.prefix]), axis=0)
            rows = g.op("Concat", g.op("Expand", g.constant(np.arange(self.prefix)[None]), shape), rows, axis=1)
        return g.op("Unsqueeze", rows, g.constant([2]))

    def _take(self, x: str, rows: str) -> str:
        """The given rows (B, R, 1) of x (B, T, D)."""
        return self.g.op("GatherND", x, rows, batch_dims=1)

    def _put(self, tokens: Tokens, states: str, batch: str) -> str:
        """The grid (B, N, D) with `states` (B, K, D) at the cells of the tokens that are left."""
        g = self.g
        if tokens.index is None or tokens.grid is None:
            return states
        clip = g.op("Range", g.constant(0), g.op("Squeeze", batch, g.constant([0])), g.constant(1))  # (B,)
        shape = g.op("Shape", tokens.index)
        clips = g.op("Expand", g.op("Unsqueeze", clip, g.constant([1])), shape)  # (B, K)
        pairs = [g.op("Unsqueeze", part, g.constant([2])) for part in (clips, tokens.index)]
        return g.op("ScatterND", tokens.grid, g.op("Concat", *pairs, axis=2), states)

    def _last_prefix(self, x: str, scope: str) -> str:
        """The last block for the prefix alone, as `Block.forward_prefix`."""
        g = self.g
        y = self._before_attention(x, scope)
        kv = g.linear(y, f"{scope}.attn.qkv", (self.width, 3 * self.width))
        k, v = (self._heads(part) for part in self._split(kv, 2))
        mixed = self._attend(self._queries(g.slice(y, 1, 0, self.prefix), scope), k, v)
        return self._feed_forward(self._after_attention(g.slice(x, 1, 0, self.prefix), mixed, scope), scope)

    def _last_mean(self, x: str, scope: str) -> str:
        """The mean over patches (B, 1, D) of the last block, as `Block.forward_mean`."""
        g = self.g
        y = self._before_attention(x, scope)
        q, k, v = (self._heads(part) for part in self._split(g.linear(y, f"{scope}.attn.qkv"), 3))
        x = self.patches(self._after_attention(x, self._attend(q, k, v), scope))
        hidden = g.op("Gelu", g.linear(g.layer_norm(x, f"{scope}.norm2", self.config.norm_eps), f"{scope}.fc1"))
        return g.op("Add", g.mean(x, 1, keep=True), g.linear(g.mean(hidden, 1, keep=True), f"{scope}.fc2"))

    # Parts of a block.

    def _before_attention(self, x: str, scope: str) -> str:
        return self.g.layer_norm(x, f"{scope}.norm1", self.config.norm_eps) if self.config.norm == "pre" else x

    def _after_attention(self, x: str, mixed: str, scope: str) -> str:
        x = self.g.op("Add", x, self.g.linear(mixed, f"{scope}.attn.proj"))
        return x if self.config.norm == "pre" else self.g.layer_norm(x, f"{scope}.norm1", self.config.norm_eps)

    def _feed_forward(self, x: str, scope: str) -> str:
        g, eps = self.g, self.config.norm_eps
        y = g.layer_norm(x, f"{scope}.norm2", eps) if self.config.norm == "pre" else x
        y = g.linear(g.op("Gelu", g.linear(y, f"{scope}.fc1")), f"{scope}.fc2")
        x = g.op("Add", x, y)
        return x if self.config.norm == "pre" else g.layer_norm(x, f"{scope}.norm2", eps)

    def _queries(self, y: str, scope: str) -> str:
        return self._heads(self.g.linear(y, f"{scope}.attn.qkv", (0, self.width)))

    def _split(self, x: str, parts: int) -> tuple[str, ...]:
        return self.g.ops("Split", parts, x, axis=2, num_outputs=parts)

    def _heads(self, x: str) -> str:
        """(B, T, D) -> (B, H, T, D/H)."""
        heads = self.config.heads
        return self.g.op("Transpose", self.g.reshape(x, 0, 0, heads, self.width // heads), perm=[0, 2, 1, 3])

    def _weights(self, q: str, k: str) -> str:
        """softmax(q k^T / sqrt(D/H)), (B, H, Tq, T)."""
        g = self.g
        scaled = g.op("Mul", q, g.constant((self.width // self.config.heads) ** -0.5))
        return g.op("Softmax", g.op("MatMul", scaled, g.op("Transpose", k, perm=[0, 1, 3, 2])), axis=-1)

    def _attend(self, q: str, k: str, v: str) -> str:
        return self._merge(self.g.op("MatMul", self._weights(q, k), v))

    def _merge(self, heads: str) -> str:
        """(B, H, T, D/H) -> (B, T, D)."""
        return self.g.reshape(self.g.op("Transpose", heads, perm=[0, 2, 1, 3]), 0, 0, self.width)

    def _norm(self, x: str) -> str:
        return self.g.layer_norm(x, f"{self.scope}encoder.norm", self.config.norm_eps) if self.config.final_norm else x


_BATCH_NORM = ("weight", "bias", "running_mean", "running_var")
