"""A language model's weights as the kernels take them: stored matrices and small float32 parameters. NumPy only."""

from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Array = NDArray[Any]
Precision = Literal["float32", "bfloat16", "float16", "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


class Matrix(NamedTuple):
    """A matrix as it is stored: row r is `data[r] * scale[r]`.

    data (..., rows, columns) is float32, bfloat16 bits (uint16), float16 bits (int16), or int8; scale (..., rows) is
    float32, and one everywhere unless data is int8. A leading axis, if any, counts layers.
    """

    data: Array
    scale: Floats

    @classmethod
    def store(cls, weight: Floats, precision: Precision) -> "Matrix":
        """Round float32 weights (..., rows, columns) to the nearest value that `precision` can store."""
        scale = np.ones(weight.shape[:-1], np.float32)
        if precision == "float32":
            return cls(np.ascontiguousarray(weight), scale)
        if precision == "bfloat16":
            bits = np.ascontiguousarray(weight).view(np.uint32)
            return cls(((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16), scale)
        if precision == "float16":
            return cls(weight.astype(np.float16).view(np.int16), scale)
        scale = np.abs(weight).max(axis=-1) / 127
        scale[scale == 0] = 1
        return cls(np.rint(weight / scale[..., None]).astype(np.int8), scale.astype(np.float32))

    def to_float32(self) -> Floats:
        """The float32 weights that the kernels multiply by, (..., rows, columns)."""
        if self.data.dtype == np.uint16:
            return (self.data.astype(np.uint32) << 16).view(np.float32)
        if self.data.dtype == np.int16:
            return self.data.view(np.float16).astype(np.float32)
        return np.asarray(self.data * self.scale[..., None], np.float32)

    def layer(self, index: int) -> "Matrix":
        """One of the matrices of a leading axis."""
        return Matrix(self.data[index], self.scale[index])

    @property
    def nbytes(self) -> int:
        """Bytes of weights and scales."""
        return int(self.data.nbytes + self.scale.nbytes)


class LayerParameters(NamedTuple):
    """What a layer has besides its two projections, in float32; with a leading axis for all layers together.

    norm (E,); taps (taps, channels) and bias (channels,) of the convolution; dt_bias, A (negative) and D (h,);
    gate_norm (inner,). `eps` and `groups` are the norms' epsilon and the number of groups, the same in every layer.
    """

    norm: Floats
    taps: Floats
    bias: Floats
    dt_bias: Floats
    A: Floats
    D: Floats
    gate_norm: Floats
    eps: np.float32
    groups: int

    def layer(self, index: int) -> "LayerParameters":
        """Those of one layer."""
        arrays = {name: value[index] for name, value in self._asdict().items() if isinstance(value, np.ndarray)}
        return self._replace(**arrays)


class Weights(NamedTuple):
    """A language model: embedding and head (V, E), one object if tied; in_proj (layers, projected, E), whose rows make
    [z | x | B | C | dt]; out_proj (layers, E, inner); `parameters` of all layers; norm_f (E,) before the head."""

    embedding: Matrix
    head: Matrix
    in_proj: Matrix
    out_proj: Matrix
    parameters: LayerParameters
    norm_f: Floats

    @property
    def read_by_a_step(self) -> int:
        """The number of weights that one decoding step reads."""
        return self.head.data.size + self.in_proj.data.size + self.out_proj.data.size


class State(NamedTuple):
    """What a model remembers, float32, updated in place: conv (layers, B, taps - 1, channels), ssm (layers, B, h, p,
    n); or both of one layer, without the leading axis."""

    conv: Floats
    ssm: Floats
