"""What enters the first block, from a graph and from torch, over the whole length of Whisper's position table."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sonopsis.encoder import Encoder
from sonopsis.encoder.config import whisper_config
from sonopsis.engines.runners import open_runner
from sonopsis.graphs.builder import Graph
from sonopsis.graphs.embedding import embed


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_tokens_and_their_positions_are_those_of_torch(engine: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = Encoder(whisper_config(16, 1, 1)).eval()
    weights = tmp_path / "model.safetensors"
    save_file({f"encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}, weights)
    graph = Graph(weights)
    mel = graph.input("mel", ["batch", "frames", 80])
    batch = graph.slice(graph.op("Shape", mel), 0, 0, 1)
    x, cells = embed(graph, encoder.config, "", mel, batch)
    graph.output("x", x, ["batch", "n", 16])
    graph.output("cells", cells, [1], integer=True)
    graph.save(tmp_path / "graph.onnx", "")
    assert (tmp_path / "graph.onnx").stat().st_size < 20_000  # the table is computed when an engine opens the graph
    runner = open_runner(engine, tmp_path / "graph.onnx", "float32", 1)
    for clips, frames in ((1, 3000), (3, 62), (2, 2)):
        values = torch.randn(clips, frames, 80)
        with torch.inference_mode():
            expected, grid = encoder.embed(values)
        found = runner.run({"mel": values.numpy()})
        assert found["cells"].tolist() == [grid[0]]
        np.testing.assert_allclose(found["x"], expected, atol=1e-5)
