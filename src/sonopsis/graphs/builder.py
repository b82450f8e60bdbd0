"""Writing an ONNX graph node by node, with weights that are read from a safetensors file beside it.

torch's own exporter was tried first: it takes 14 to 42 s for each graph of an AST, freezes the keep rate, and copies
the weights. Written by hand, a graph takes a second, the number of survivors is an input, and it has 0.1 MB.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonopsis.graphs.names import read_header
from sonopsis.installed import needed_by

OPSET = 20  # the first with Gelu
IR_VERSION = 9
END = 2**31 - 1  # the end of a slice: beyond every axis

Dimension = int | str


class Graph:
    """A graph under construction; names of values are strings, as in ONNX.

    `weights` is the safetensors file its parameters are in, which must stay in the folder the graph is saved to.
    Raises ValueError when the package onnx is not installed.
    """

    def __init__(self, weights: Path) -> None:
        with needed_by("exporting a model"):
            import onnx
        self._onnx = onnx
        self._file = weights.name
        self._start, self._header = read_header(weights)
        self._nodes: list[Any] = []
        self._initializers: dict[str, Any] = {}
        self._constants: dict[tuple[Any, ...], str] = {}
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._made: dict[Any, tuple[str, ...]] = {}
        self._called: dict[str, str] = {}  # outputs by the values that they are

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output, and return the output's name."""
        return self.ops(kind, 1, *inputs, **attributes)[0]

    def ops(self, kind: str, count: int, *inputs: str, **attributes: Any) -> tuple[str, ...]:
        """Add a node with `count` outputs, and return their names; of equal nodes there is one."""
        key = (kind, count, inputs, tuple(sorted((name, str(value)) for name, value in attributes.items())))
        if key not in self._made:
            outputs = tuple(f"{kind}_{len(self._nodes)}{f'_{n}' if count > 1 else ''}" for n in range(count))
            self._nodes.append(self._onnx.helper.make_node(kind, inputs, outputs, **attributes))
            self._made[key] = outputs
        return self._made[key]

    def constant(self, value: NDArray[Any] | Sequence[int] | int | float) -> str:
        """A constant kept in the graph itself: int64 for integers, float32 for the rest."""
        array = np.asarray(value)
        array = array.astype(np.int64 if array.dtype.kind in "iu" else np.float32)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            name = self._constants[key] = f"constant_{len(self._constants)}"
            self._initializers[name] = self._onnx.numpy_helper.from_array(array, name)
        return self._constants[key]

    def weight(self, name: str) -> str:
        """A parameter of the safetensors file as float32; raises ValueError when it is not there."""
        return self._as_float(self._stored(name), name)

    def _stored(self, name: str) -> str:
        """A parameter in the precision of the file."""
        if name in self._initializers:
            return name
        entry = self._header.get(name)
        if entry is None:
            raise ValueError(f"{self._file} holds no tensor {name}; save the model folder again")
        kinds = {"F32": self._onnx.TensorProto.FLOAT, "F16": self._onnx.TensorProto.FLOAT16}
        if entry["dtype"] not in kinds:
            raise ValueError(f"{self._file}: {name} is {entry['dtype']}; only F32 and F16 can be exported")
        begin, end = entry["data_offsets"]
        tensor = self._onnx.TensorProto(name=name, data_type=kinds[entry["dtype"]], dims=entry["shape"])
        tensor.data_location = self._onnx.TensorProto.EXTERNAL
        for key, value in (("location", self._file), ("offset", self._start + begin), ("length", end - begin)):
            tensor.external_data.add(key=key, value=str(value))
        self._initializers[name] = tensor
        return name

    def _as_float(self, x: str, name: str) -> str:
        """What was made of the parameter `name` as float32."""
        half = self._header[name]["dtype"] == "F16"
        return self.op("Cast", x, to=self._onnx.TensorProto.FLOAT) if half else x

    def rows(self, name: str, index: str) -> str:
        """Rows of a matrix by their numbers (...) as float32 (..., columns), without converting the others."""
        return self._as_float(self.op("Gather", self._stored(name), index, axis=0), name)

    def has(self, name: str) -> bool:
        """Whether the safetensors file holds a parameter."""
        return name in self._header

    # The layers that all our modules are made of.

    def linear(self, x: str, name: str, rows: tuple[int, int] | None = None) -> str:
        """torch's Linear (its output features `rows` only, if given) on the last axis."""
        weight = self._stored(f"{name}.weight")  # cut and turned before it is made float32, which has twice the bytes
        bias = self.weight(f"{name}.bias") if self.has(f"{name}.bias") else None
        if rows is not None:
            weight = self.slice(weight, 0, *rows)
            bias = None if bias is None else self.slice(bias, 0, *rows)
        y = self.op("MatMul", x, self._as_float(self.op("Transpose", weight, perm=[1, 0]), f"{name}.weight"))
        return y if bias is None else self.op("Add", y, bias)

    def layer_norm(self, x: str, name: str, eps: float) -> str:
        """torch's LayerNorm over the last axis."""
        scale, bias = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return self.op("LayerNormalization", x, scale, bias, axis=-1, epsilon=eps)

    def slice(self, x: str, axis: int, start: int, end: int) -> str:
        """x[start:end] along one axis; `end` may be far beyond it."""
        return self.op("Slice", x, self.constant([start]), self.constant([end]), self.constant([axis]))

    def reshape(self, x: str, *shape: int) -> str:
        """torch's view; 0 keeps a dimension."""
        return self.op("Reshape", x, self.constant(list(shape)))

    def mean(self, x: str, axis: int, keep: bool = False) -> str:
        """The mean over one axis."""
        return self.op("ReduceMean", x, self.constant([axis]), keepdims=int(keep))

    # The outside.

    def input(self, name: str, shape: Sequence[Dimension], integer: bool = False) -> str:
        """Declare an input, float32 or int64; a dimension given as a name is free."""
        self._inputs.append(self._declared(name, shape, integer))
        return name

    def output(self, name: str, value: str, shape: Sequence[Dimension], integer: bool = False) -> None:
        """Declare a value as an output; one that no node makes, or that is an output already, is copied."""
        made = any(value in outputs for outputs in self._made.values())
        if not made or value in self._called:
            self._nodes.append(self._onnx.helper.make_node("Identity", [value], [name]))
        else:
            self._called[value] = name
        self._outputs.append(self._declared(name, shape, integer))

    def _declared(self, name: str, shape: Sequence[Dimension], integer: bool) -> Any:
        kind = self._onnx.TensorProto.INT64 if integer else self._onnx.TensorProto.FLOAT
        return self._onnx.helper.make_tensor_value_info(name, kind, list(shape))

    def save(self, file: Path, doc: str) -> None:
        """Write the graph; `doc` tells its reader what goes in and comes out."""
        helper = self._onnx.helper
        for node in self._nodes:
            for values in (node.input, node.output):
                values[:] = [self._called.get(value, value) for value in values]
        graph = helper.make_graph(
            self._nodes, file.stem, self._inputs, self._outputs, list(self._initializers.values()), doc_string=doc
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="sonopsis"
        )
        file.write_bytes(model.SerializeToString(deterministic=True))
