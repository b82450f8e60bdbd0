"""Graphs as they are written: one node for equal ones, and outputs without copies where there need be none."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from sonopsis.files import WEIGHTS

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


def test_equal_nodes_are_one_and_outputs_are_copied_only_where_they_must_be(tmp_path: Path) -> None:
    from sonopsis.graphs.builder import Graph

    save_file({"weight": np.ones((2, 2), np.float32)}, tmp_path / WEIGHTS)
    graph = Graph(tmp_path / WEIGHTS)
    x = graph.input("x", ["batch", 2])
    first, again = graph.op("Softmax", x, axis=1), graph.op("Softmax", x, axis=1)
    other = graph.op("Softmax", x, axis=0)
    assert first == again != other
    graph.output("rows", first, ["batch", 2])
    graph.output("doubled", graph.op("Add", again, again), ["batch", 2])  # reads what is an output already
    graph.output("rows_too", again, ["batch", 2])
    graph.output("columns", other, ["batch", 2])
    graph.output("same", x, ["batch", 2])
    graph.save(tmp_path / "tiny.onnx", "a test")

    kinds = [node.op_type for node in onnx.load(tmp_path / "tiny.onnx").graph.node]
    assert sorted(kinds) == ["Add", "Identity", "Identity", "Softmax", "Softmax"]
    session = onnxruntime.InferenceSession(tmp_path / "tiny.onnx", providers=["CPUExecutionProvider"])
    given = np.array([[0.0, 1.0], [2.0, -1.0]], np.float32)
    found = dict(zip([output.name for output in session.get_outputs()], session.run(None, {"x": given}), strict=True))
    rows = np.exp(given) / np.exp(given).sum(axis=1, keepdims=True)
    columns = np.exp(given) / np.exp(given).sum(axis=0, keepdims=True)
    for name, expected in {
        "rows": rows, "doubled": 2 * rows, "rows_too": rows, "columns": columns, "same": given,
    }.items():  # fmt: skip
        np.testing.assert_allclose(found[name], expected, rtol=1e-6, err_msg=name)
