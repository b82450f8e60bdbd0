"""The connector as a graph: the mathematics of `sonopsis.captioning.connector`, checked against it by the tests."""

from sonopsis.captioning.config import ConnectorConfig
from sonopsis.graphs.builder import END, Graph
from sonopsis.graphs.encoder import EncoderGraph, Tokens


def check_connector(config: ConnectorConfig) -> None:
    """Raise ValueError for a connector that only torch computes."""
    beyond = {
        "scan": config.scan > 0,
        "queries": config.queries > 0,
        "expand": config.expand > 1 and config.layout != "concat",
        "a second encoder": config.second > 0,
        "fill": config.fills != ("last" if config.layout == "concat" else "omit"),
    }
    if found := [name for name, there in beyond.items() if there]:
        raise ValueError(
            f"graphs have no connector with {' and '.join(found)} (layout {config.layout}); run this model with "
            "engine='torch'"
        )


class ConnectorGraph:
    """Adds a connector to a graph."""

    def __init__(self, graph: Graph, encoder: EncoderGraph, config: ConnectorConfig) -> None:
        self.g = graph
        self.encoder = encoder
        self.config = config
        self.steps: str | None = None  # (B, t, labels) probabilities of labels in time, once `prefix` has scored them

    def prefix(self, tokens: Tokens, mel: str) -> str:
        """Prefix vectors (B, L, E) of an encoder's tokens."""
        g = self.g
        vectors = self._vectors(tokens, mel)
        if self.config.labels:
            scores = g.op("Sigmoid", g.linear(vectors, "connector.score"))
            self.steps = g.slice(scores, 1, 0, -1) if self.config.summary else scores
            gated = g.op("Mul", g.weight("connector.gate"), vectors)
            vectors = g.op("Add", g.linear(scores, "connector.embed"), gated)
        if self.config.reduction == 1:
            return vectors
        steps = g.slice(vectors, 1, 0, -1) if self.config.summary else vectors
        means = self._average(steps, self.config.reduction)
        return g.op("Concat", means, g.slice(vectors, 1, -1, END), axis=1) if self.config.summary else means

    def _vectors(self, tokens: Tokens, mel: str) -> str:
        g = self.g
        if self.config.layout == "concat":
            assert tokens.grid is not None
            grids = [tokens.grid, *tokens.earlier]
            steps = [self._pooled(grid) for grid in grids]
            vectors = self._mlp(steps[0], steps[1:])  # (B, t, E)
            if self.config.expand > 1:
                vectors = g.reshape(g.linear(vectors, "connector.expand"), 0, -1, self.config.width)
        else:
            vectors = self._ordered(self._mlp(self.encoder.patches(tokens.x), []), tokens, mel)
        if not self.config.summary:
            return vectors
        if self.encoder.prefix and not self.encoder.config.pools_by_attention:
            first = g.slice(tokens.x, 1, 0, 1)
        else:
            first = g.op("Unsqueeze", self.encoder.pooled(tokens), g.constant([1]))
        first = g.layer_norm(first, "connector.summary.0", 1e-5)
        return g.op("Concat", vectors, g.linear(first, "connector.summary.1"), axis=1)

    def _pooled(self, grid: str) -> str:
        """Time steps (B, t, inputs) of a grid (B, N, D), averaged over neighbouring times and frequencies."""
        g, config = self.g, self.config
        if config.pool_frequency == 1:
            return self._average(g.reshape(grid, 0, -1, config.inputs), config.pool)
        cells = g.reshape(grid, 0, -1, config.frequency_rows, config.encoder_width)
        turned = g.op("Transpose", cells, perm=[0, 3, 1, 2])  # (B, D, t, F)
        sizes = [config.pool, config.pool_frequency]
        means = g.op("AveragePool", turned, kernel_shape=sizes, strides=sizes, ceil_mode=1, count_include_pad=0)
        return g.reshape(g.op("Transpose", means, perm=[0, 2, 3, 1]), 0, -1, config.inputs)

    def _average(self, steps: str, size: int) -> str:
        """Means of `size` neighbouring time steps (B, t, E); the last one is of as many as are left."""
        if size == 1:
            return steps
        g = self.g
        turned = g.op("Transpose", steps, perm=[0, 2, 1])
        pooling = {"kernel_shape": [size], "strides": [size], "ceil_mode": 1, "count_include_pad": 0}
        return g.op("Transpose", g.op("AveragePool", turned, **pooling), perm=[0, 2, 1])

    def _mlp(self, x: str, earlier: list[str]) -> str:
        """Vectors (B, ., E) of tokens, and of the states of earlier blocks if these are read too."""
        g = self.g
        normed = g.layer_norm(x, "connector.norm", 1e-5)
        if earlier:
            centred = g.op("Sub", g.op("Concat", *earlier, axis=2), g.weight("connector.scale.running_mean"))
            variance = g.op("Add", g.weight("connector.scale.running_var"), g.constant(1e-5))
            normed = g.op("Concat", normed, g.op("Div", centred, g.op("Sqrt", variance)), axis=2)
        return g.linear(g.op("Gelu", g.linear(normed, "connector.mlp.0")), "connector.mlp.2")

    def _ordered(self, vectors: str, tokens: Tokens, mel: str) -> str:
        """Survivors (B, K, E) with separators between groups, ordered by one sort over grid keys."""
        g = self.g
        rows = g.constant(self.config.frequency_rows)
        assert tokens.index is not None  # the default blocks prune, be it nothing
        step, band = g.op("Div", tokens.index, rows), g.op("Mod", tokens.index, rows)
        time = g.op("Div", self.encoder.cells, g.constant([self.config.frequency_rows]))
        if self.config.layout == "time_major":
            groups, size = time, g.constant([self.config.frequency_rows])
            key = g.op("Add", g.op("Mul", step, g.constant(self.config.frequency_rows + 1)), band)
        else:
            groups, size = g.constant([self.config.frequency_rows]), time
            key = g.op("Add", g.op("Mul", band, g.op("Add", time, g.constant([1]))), step)
        count = g.op("Squeeze", g.op("Sub", groups, g.constant([1])), g.constant([0]))
        ends = g.op("Range", g.constant(0), count, g.constant(1))
        ends = g.op("Add", g.op("Mul", ends, g.op("Add", size, g.constant([1]))), size)  # a free key after each group
        batch = g.slice(g.op("Shape", mel), 0, 0, 1)
        between = g.op("Concat", batch, g.op("Shape", ends), axis=0)
        keys = g.op("Concat", key, g.op("Expand", ends, between), axis=1)
        separator = g.reshape(g.weight("connector.separator"), 1, 1, self.config.width)
        shape = g.op("Concat", between, g.constant([self.config.width]), axis=0)
        every = g.op("Concat", vectors, g.op("Expand", separator, shape), axis=1)
        _, order = g.ops("TopK", 2, keys, g.slice(g.op("Shape", keys), 0, 1, 2), axis=1, largest=0, sorted=1)
        return g.op("GatherND", every, g.op("Unsqueeze", order, g.constant([2])), batch_dims=1)
