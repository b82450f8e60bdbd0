"""The pruned encoder as a graph: the mathematics of `sonopsis.encoder`, checked against it by the tests.

    mel (B, T, M) float32, kept (stages,) int64 -> logits (B, labels), tokens (B, K, D), survivors of each stage

`kept` says how many patches survive each pruning block; as many as there are is no pruning.
"""

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np

from sonopsis.encoder.config import EncoderConfig
from sonopsis.graphs.builder import END, Graph
from sonopsis.graphs.embedding import embed
from sonopsis.pruning.config import default_blocks


@dataclass
class Tokens:
    """The values that go from block to block."""

    x: str  # (B, P + K, D)
    index: str | None = None  # (B, K) grid cells; None: all of them
    grid: str | None = None  # (B, N, D) the last state of every patch so far, when it is collected
    averaged: bool = False  # x is the mean over patches, (B, 1, D)
    blocks: list[str] = field(default_factory=list)  # mean and maximum (B, D) of the patches after each block so far
    held: str | None = None  # (B, N, D) as `grid`, before the norm, when states after earlier blocks are collected
    earlier: list[str] = field(default_factory=list)  # (B, N, D) every patch after each block that is collected
    summed: str | None = None  # (B, P + K, D) the sum over layers so far, of an encoder with weights for them


class EncoderGraph:
    """Adds an encoder to a graph."""

    def __init__(self, graph: Graph, config: EncoderConfig, scope: str = "") -> None:
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

    def run(
        self,
        mel: str,
        kept: str,
        *,
        pooled_only: bool = False,
        collect: bool = False,
        collect_blocks: Collection[int] = (),
    ) -> tuple[Tokens, list[str]]:
        """Tokens after the last block and the final norm, and the survivors (B, K) of each pruning block.

        With `pooled_only` the tokens are only what the head reads: the prefix, or the mean over patches, (B, ., D).
        With `collect` the last state of every patch, dropped or not, is in `grid`, and with it every patch after each
        of `collect_blocks` in `earlier`.
        """
        g, config = self.g, self.config
        batch = g.slice(g.op("Shape", mel), 0, 0, 1)
        x, self.cells = embed(g, config, self.scope, mel, batch)
        tokens = Tokens(x)
        if config.layer_weights:
            tokens.summed = g.op("Mul", self._share(0), x)
        stages: list[str] = []
        for number in range(config.depth):
            scope = f"{self.scope}encoder.blocks.{number}"
            last = pooled_only and number == config.depth - 1
            if last and config.reads_prefix:
                tokens.x = self._last_prefix(tokens.x, scope)
            elif number in self.blocks:
                stage = self.blocks.index(number)
                self._prune(
                    tokens, number, g.slice(kept, 0, stage, stage + 1), batch, collect, hold=bool(collect_blocks)
                )
                assert tokens.index is not None
                stages.append(tokens.index)
            elif last and config.mean_alone:
                tokens.x, tokens.averaged = self._last_mean(tokens.x, scope), True
            else:
                y = self._before_attention(tokens.x, scope)
                q, k, v = (self._heads(part) for part in self._split(g.linear(y, f"{scope}.attn.qkv"), 3))
                x = self._after_attention(tokens.x, self._attend(q, k, v), scope)
                tokens.x = self._feed_forward(x, scope)
            if tokens.summed is not None:
                leaving = self._norm(tokens.x) if number == config.depth - 1 else tokens.x
                tokens.summed = g.op("Add", tokens.summed, g.op("Mul", self._share(number + 1), leaving))
            if number in collect_blocks:
                tokens.earlier.append(self._put(tokens.held, tokens.index, self.patches(tokens.x), batch))
            if config.pooling == "layers":
                patches = self.patches(tokens.x)
                tokens.blocks += [g.mean(patches, 1), g.op("ReduceMax", patches, g.constant([1]), keepdims=0)]
        tokens.x = self._norm(tokens.x) if tokens.summed is None else tokens.summed
        if collect:
            tokens.grid = self._put(tokens.grid, tokens.index, self.patches(tokens.x), batch)
        return tokens, stages

    def patches(self, x: str) -> str:
        """The patch tokens (B, K, D) of a sequence."""
        return self.g.slice(x, 1, self.prefix, END)

    def pooled(self, tokens: Tokens) -> str:
        """The vector (B, D) that a head reads first, as `Encoder.pool`."""
        g = self.g
        if self.config.pooling == "cls":
            return g.op("Squeeze", g.slice(tokens.x, 1, 0, 1), g.constant([1]))
        if self.config.pooling == "cls_dist":
            return g.mean(g.slice(tokens.x, 1, 0, 2), 1)
        if self.config.pools_by_attention:
            return self._weighted_mean(self.patches(tokens.x))
        return g.mean(tokens.x if tokens.averaged else self.patches(tokens.x), 1)

    def summary(self, tokens: Tokens) -> str:
        """The prefix tokens (B, P, D), and before them what attention pooling makes, as `Encoded.prefix`."""
        g = self.g
        prefix = g.slice(tokens.x, 1, 0, self.prefix)
        if not self.config.pools_by_attention:
            return prefix
        pooled = g.op("Unsqueeze", self.pooled(tokens), g.constant([1]))
        return g.op("Concat", pooled, prefix, axis=1) if self.prefix else pooled

    def logits(self, tokens: Tokens) -> str:
        """The head (B, labels) on the pooled tokens."""
        g = self.g
        pooled = self.pooled(tokens)
        if self.config.head_norm:
            pooled = g.layer_norm(pooled, f"{self.scope}head.norm", self.config.head_norm_eps)
        if tokens.blocks:
            scope = f"{self.scope}encoder.statistics"
            blocks = g.op("Sub", g.op("Concat", *tokens.blocks, axis=1), g.weight(f"{scope}.centre"))
            pooled = g.op("Concat", pooled, g.op("Div", blocks, g.weight(f"{scope}.deviation")), axis=1)
        return g.linear(pooled, f"{self.scope}head.linear")

    def _prune(self, tokens: Tokens, number: int, kept: str, batch: str, collect: bool, hold: bool) -> None:
        g, scope = self.g, f"{self.scope}encoder.blocks.{number}"
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
            seen = self.patches(x)
            last = self._last_state(number, seen, tokens.summed)
            tokens.grid = self._put(tokens.grid, tokens.index, last, batch)
            if hold:
                tokens.held = self._put(tokens.held, tokens.index, seen, batch)
            x = self._take(x, rows)
        else:
            x = self._after_attention(self._take(tokens.x, rows), mixed, scope)
        tokens.index = choice if tokens.index is None else g.op("GatherElements", tokens.index, choice, axis=1)
        tokens.x = self._feed_forward(x, scope)
        if tokens.summed is not None:
            tokens.summed = self._take(tokens.summed, rows)

    def _last_state(self, number: int, seen: str, summed: str | None) -> str:
        """The last state (B, N, D) of patches that a block drops, as `Encoder`'s."""
        g, depth = self.g, self.config.depth
        if summed is None:
            return self._norm(seen)
        state = g.op("Add", self.patches(summed), g.op("Mul", self._share(depth), self._norm(seen)))
        later = [self._share(layer) for layer in range(number + 1, depth)]
        return g.op("Add", state, g.op("Mul", g.op("Sum", *later), seen)) if later else state

    def _share(self, layer: int) -> str:
        """The share (1,) of a layer in the sum over layers."""
        g = self.g
        return g.slice(g.op("Softmax", g.weight(f"{self.scope}encoder.layer_weights"), axis=0), 0, layer, layer + 1)

    def _weighted_mean(self, patches: str) -> str:
        """The mean (B, D) of patches (B, K, D) with learned weights, as `AttentionPooling`."""
        g = self.g
        scores = g.linear(patches, f"{self.scope}encoder.pooling.score")  # (B, K, H)
        weights = g.op("Softmax", g.op("Transpose", scores, perm=[0, 2, 1]), axis=-1)  # (B, H, K)
        parts = g.op("MatMul", g.op("Unsqueeze", weights, g.constant([2])), self._heads(patches))  # (B, H, 1, D/H)
        return g.reshape(parts, 0, self.width)

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

    def _put(self, grid: str | None, index: str | None, states: str, batch: str) -> str:
        """The grid (B, N, D) with `states` (B, K, D) at the cells `index` (B, K) of the tokens that are left."""
        g = self.g
        if index is None or grid is None:
            return states
        clip = g.op("Range", g.constant(0), g.op("Squeeze", batch, g.constant([0])), g.constant(1))  # (B,)
        shape = g.op("Shape", index)
        clips = g.op("Expand", g.op("Unsqueeze", clip, g.constant([1])), shape)  # (B, K)
        pairs = [g.op("Unsqueeze", part, g.constant([2])) for part in (clips, index)]
        return g.op("ScatterND", grid, g.op("Concat", *pairs, axis=2), states)

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
