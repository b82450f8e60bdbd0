"""Mamba-2 as graphs: a prompt read from embeddings, and one step; the state goes in and comes out.

    prefill   embeds (B, L, E), conv_i, ssm_i -> logits (B, V) after the last position, conv_i_out, ssm_i_out
    step      ids (B,) int64,   conv_i, ssm_i -> logits (B, V),                         conv_i_out, ssm_i_out

One pair of states per layer i: conv_i (B, taps - 1, channels) and ssm_i (B, h, p, n), zeros at the start. Prefill is
the chunked form of arXiv 2405.21060, section 6; the recurrence between chunks is a product with a small triangular
matrix of decays, so any length runs in one graph. Over a thousand positions or so at once, sums of decays lose digits:
read longer prompts in pieces.
"""

from collections.abc import Callable

import numpy as np

from sonopsis.captioning.config import LMConfig
from sonopsis.graphs.builder import END, Graph
from sonopsis.mamba2.config import Mamba2Config

Recurrence = Callable[[str, str, str, str, str], tuple[str, str]]


def graph_config(config: LMConfig) -> Mamba2Config:
    """The sizes of a language model that graphs can have; raises ValueError for one that only torch computes."""
    if not isinstance(config, Mamba2Config):
        raise ValueError(
            f"graphs have no language model of transformers ({config.architecture}), only a Mamba-2; run this model "
            "with engine='torch'"
        )
    return config


class LMGraph:
    """Adds a language model to a graph; `scope` is put before its parameters' names."""

    def __init__(self, graph: Graph, config: Mamba2Config, scope: str = "") -> None:
        self.g = graph
        self.config = config
        self.scope = scope

    def prefill(self) -> None:
        """Declare inputs, layers and outputs of the graph that reads a prompt."""
        x = self.g.input("embeds", ["batch", "length", self.config.width])
        for layer in range(self.config.depth):
            x = self._layer(x, layer, self._scan)
        self._logits(self.g.op("Squeeze", self.g.slice(x, 1, -1, END), self.g.constant([1])))

    def step(self) -> None:
        """Declare inputs, layers and outputs of the graph that appends one token."""
        g = self.g
        x = self.embed(g.op("Unsqueeze", g.input("ids", ["batch"], integer=True), g.constant([1])))  # (B, 1, E)
        for layer in range(self.config.depth):
            x = self._layer(x, layer, self._recur)
        self._logits(g.op("Squeeze", x, g.constant([1])))

    def embed(self, ids: str) -> str:
        """Ids of any shape -> embeddings, with one more axis."""
        return self.g.rows(f"{self.scope}backbone.embedding.weight", ids)

    def _logits(self, x: str) -> None:
        g = self.g
        head = "backbone.embedding" if self.config.tie_embeddings else "lm_head"
        x = self._rms_norm(x, "backbone.norm_f.weight", self.config.norm_eps)
        g.output("logits", g.linear(x, self.scope + head), ["batch", self.config.vocab_size])

    def _layer(self, x: str, layer: int, recurrence: Recurrence) -> str:
        g, config = self.g, self.config
        scope = f"backbone.layers.{layer}"
        taps, channels = config.conv, config.conv_channels
        conv = g.input(f"conv_{layer}", ["batch", taps - 1, channels])
        ssm = g.input(f"ssm_{layer}", ["batch", config.heads, config.head_dim, config.state])
        y = self._rms_norm(x, f"{scope}.norm.weight", config.norm_eps)
        sizes = g.constant([config.inner, channels, config.heads])
        z, xbc, dt = g.ops("Split", 3, g.linear(y, f"{self.scope}{scope}.mixer.in_proj"), sizes, axis=2)
        padded = g.op("Concat", conv, xbc, axis=1)  # (B, taps - 1 + L, channels)
        g.output(f"conv_{layer}_out", g.slice(padded, 1, 1 - taps, END), ["batch", taps - 1, channels])
        xbc = self._silu(self._conv(padded, f"{scope}.mixer.conv1d"))
        dt = g.op("Softplus", g.op("Add", dt, self._weight(f"{scope}.mixer.dt_bias")))  # (B, L, h)
        wide = config.groups * config.state
        inner, b, c = g.ops("Split", 3, xbc, g.constant([config.inner, wide, wide]), axis=2)
        rate = g.op("Neg", g.op("Exp", self._weight(f"{scope}.mixer.A_log")))  # (h,)
        inner = g.reshape(inner, 0, 0, config.heads, config.head_dim)  # (B, L, h, p)
        b, c = (g.reshape(part, 0, 0, config.groups, config.state) for part in (b, c))
        written = g.op("Mul", inner, g.op("Unsqueeze", dt, g.constant([3])))
        read, last = recurrence(written, g.op("Mul", dt, rate), b, c, ssm)
        g.output(f"ssm_{layer}_out", last, ["batch", config.heads, config.head_dim, config.state])
        skip = g.op("Unsqueeze", self._weight(f"{scope}.mixer.D"), g.constant([1]))  # (h, 1)
        out = g.reshape(g.op("Add", read, g.op("Mul", inner, skip)), 0, 0, config.inner)
        out = g.op("Mul", out, self._silu(z))
        out = self._rms_norm(out, f"{scope}.mixer.norm.weight", config.norm_eps, config.groups)
        return g.op("Add", x, g.linear(out, f"{self.scope}{scope}.mixer.out_proj"))

    def _recur(self, x: str, decay: str, b: str, c: str, state: str) -> tuple[str, str]:
        """One position: x times dt (B, 1, h, p), decay (B, 1, h), b and c (B, 1, g, n), as `ssd_step`."""
        g, config = self.g, self.config
        groups, size = config.groups, config.state
        each = config.inner // groups
        keeps = g.reshape(g.op("Exp", decay), 0, config.heads, 1, 1)
        write = g.op("Mul", g.reshape(x, 0, groups, each, 1), g.reshape(b, 0, groups, 1, size))  # (B, g, h/g * p, n)
        shape = (0, config.heads, config.head_dim, size)
        state = g.op("Add", g.op("Mul", state, keeps), g.reshape(write, *shape))
        read = g.op("MatMul", g.reshape(state, 0, groups, each, size), g.reshape(c, 0, groups, size, 1))
        return g.reshape(read, 0, 1, config.heads, config.head_dim), state

    def _scan(self, x: str, decay: str, b: str, c: str, state: str) -> tuple[str, str]:
        """All positions: x times dt (B, L, h, p), decay (B, L, h), b and c (B, L, g, n), as `ssd_chunked`."""
        g, config = self.g, self.config
        heads, width, groups, size = config.heads, config.head_dim, config.groups, config.state
        length = g.slice(g.op("Shape", "embeds"), 0, 1, 2)  # not of x: so all layers share what follows from it
        chunks = g.op("Div", g.op("Add", length, g.constant([config.chunk - 1])), g.constant([config.chunk]))
        q = g.op("Div", g.op("Sub", g.op("Add", length, chunks), g.constant([1])), chunks)
        missing = g.op("Sub", g.op("Mul", chunks, q), length)  # no decay and nothing written: the state passes through

        def cut(part: str, *rest: int) -> str:
            """(B, L, ...) -> (B, c, q, ...)."""
            zeros = g.constant([0] * (len(rest) + 2))
            pads = g.op("Concat", zeros, g.constant([0]), missing, g.constant([0] * len(rest)), axis=0)
            shape = g.op("Concat", g.constant([0]), chunks, q, g.constant(list(rest)), axis=0)
            return g.op("Reshape", g.op("Pad", part, pads), shape)

        x, decay = cut(x, heads, width), cut(decay, heads)
        b, c = (g.op("Transpose", cut(part, groups, size), perm=[0, 1, 3, 2, 4]) for part in (b, c))  # (B, c, g, q, n)
        total = g.op("CumSum", decay, g.constant(2))  # (B, c, q, h)

        rows = g.op("Transpose", total, perm=[0, 1, 3, 2])  # (B, c, h, q)
        between = self._decays(rows, q)  # (B, c, h, q, q)
        square = g.op("Concat", g.constant([0]), chunks, g.constant([groups, heads // groups]), q, q, axis=0)
        scores = g.op("Unsqueeze", g.op("MatMul", c, g.op("Transpose", b, perm=[0, 1, 2, 4, 3])), g.constant([3]))
        weights = g.op("Mul", g.op("Reshape", between, square), scores)  # (B, c, g, h/g, q, q)
        flat = g.op("Concat", g.constant([0]), chunks, g.constant([heads]), q, q, axis=0)
        inside = g.op("MatMul", g.op("Reshape", weights, flat), g.op("Transpose", x, perm=[0, 1, 3, 2, 4]))
        inside = g.op("Transpose", inside, perm=[0, 1, 3, 2, 4])  # (B, c, q, h, p)

        whole = g.slice(total, 2, -1, END)  # (B, c, 1, h)
        rest = g.op("Unsqueeze", g.op("Exp", g.op("Sub", whole, total)), g.constant([4]))
        late = g.op("Transpose", g.reshape(g.op("Mul", x, rest), 0, 0, 0, groups, -1), perm=[0, 1, 3, 4, 2])
        added = g.reshape(g.op("MatMul", late, b), 0, 0, heads, width * size)  # (B, c, h, p * n)

        first = g.reshape(state, 0, 1, heads, width * size)
        entries = g.op("Transpose", g.op("Concat", first, added, axis=1), perm=[0, 2, 1, 3])  # (B, h, c + 1, p * n)
        passed = g.op("CumSum", g.op("Squeeze", whole, g.constant([2])), g.constant(1))  # (B, c, h)
        passed = g.op("Transpose", passed, perm=[0, 2, 1])
        start = g.op("Mul", g.slice(passed, 2, 0, 1), g.constant(0.0))  # (B, h, 1) zeros
        decays = self._decays(g.op("Concat", start, passed, axis=2), g.op("Add", chunks, g.constant([1])))
        states = g.op("MatMul", decays, entries)  # (B, h, c + 1, p * n)
        last = g.reshape(g.slice(states, 2, -1, END), 0, heads, width, size)
        starts = g.op("Transpose", g.slice(states, 2, 0, -1), perm=[0, 2, 1, 3])  # (B, c, h, p * n)
        starts = g.op("Transpose", g.reshape(starts, 0, 0, groups, -1, size), perm=[0, 1, 2, 4, 3])
        read = g.op("Transpose", g.op("MatMul", c, starts), perm=[0, 1, 3, 2, 4])  # (B, c, q, g, h/g * p)
        fades = g.op("Unsqueeze", g.op("Exp", total), g.constant([4]))
        read = g.op("Mul", g.reshape(read, 0, 0, 0, heads, width), fades)
        y = g.reshape(g.op("Add", inside, read), 0, -1, heads, width)  # (B, c, q, h, p) -> (B, c * q, h, p)
        return g.op("Slice", y, g.constant([0]), length, g.constant([1])), last

    def _decays(self, sums: str, size: str) -> str:
        """exp(sums_i - sums_j) of the last axis, `size` of them, for j <= i, 0 above the diagonal."""
        g = self.g
        differences = g.op("Sub", g.op("Unsqueeze", sums, g.constant([-1])), g.op("Unsqueeze", sums, g.constant([-2])))
        ones = g.op("Expand", g.constant(np.ones((1, 1))), g.op("Concat", size, size, axis=0))
        future = g.op("Mul", g.op("Trilu", ones, g.constant(1), upper=1), g.constant(-1e30))
        return g.op("Exp", g.op("Add", differences, future))

    def _conv(self, padded: str, name: str) -> str:
        """The causal convolution as a sum of shifted products, as `causal_conv`."""
        g, taps = self.g, self.config.conv
        weight = g.op("Transpose", g.reshape(self._weight(f"{name}.weight"), 0, taps), perm=[1, 0])  # (taps, channels)
        total = self._weight(f"{name}.bias")
        for tap in range(taps):
            end = tap + 1 - taps if tap + 1 < taps else END
            shifted = g.slice(padded, 1, tap, end)
            total = g.op("Add", total, g.op("Mul", shifted, g.slice(weight, 0, tap, tap + 1)))
        return total

    def _rms_norm(self, x: str, name: str, eps: float, groups: int = 1) -> str:
        g = self.g
        parts = x if groups == 1 else g.reshape(x, 0, 0, groups, -1)
        square = g.op("ReduceMean", g.op("Mul", parts, parts), g.constant([-1]), keepdims=1)
        parts = g.op("Div", parts, g.op("Sqrt", g.op("Add", square, g.constant(eps))))
        return g.op("Mul", parts if groups == 1 else g.reshape(parts, 0, 0, -1), self._weight(name))

    def _silu(self, x: str) -> str:
        return self.g.op("Mul", x, self.g.op("Sigmoid", x))

    def _weight(self, name: str) -> str:
        return self.g.weight(self.scope + name)
