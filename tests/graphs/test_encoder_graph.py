"""The exported encoder against the torch one: the same tokens survive, and the numbers agree."""

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors.torch import save_file

from sonopsis.captioning.config import ConnectorConfig
from sonopsis.captioning.connector import Connector
from sonopsis.encoder import PRESETS, EncoderConfig
from sonopsis.encoder.config import whisper_config
from sonopsis.encoder.encoded import Encoded
from sonopsis.encoder.tagger import Tagger
from sonopsis.graphs.builder import Graph
from sonopsis.graphs.connector import ConnectorGraph
from sonopsis.graphs.encoder import EncoderGraph
from sonopsis.pruning import default_blocks, kept_count, uniform

LABELS = 7
WHISPER = replace(whisper_config(48, 4, 3, frames=256), head_norm=False)
CONFIGS = {
    "small": replace(PRESETS["small"], width=48, depth=4, frames=256),
    "ast": replace(PRESETS["ast"], width=48, depth=4, heads=3, frames=64, stride=(10, 10)),
    "audiomae": replace(PRESETS["audiomae"], width=48, depth=4, heads=3, frames=128),
    "audiomae of 5 blocks": replace(PRESETS["audiomae"], width=48, depth=5, heads=3, frames=128),
    "eat": replace(PRESETS["eat"], width=48, depth=4, heads=3, frames=128),
    "without CLS": replace(
        PRESETS["small"], width=48, depth=4, frames=256, prefix_tokens=0, pooling="mean", score="attention"
    ),
    "whisper": WHISPER,
    "whisper by attention": replace(
        whisper_config(48, 5, 3, mels=128, frames=256), pooling="attention", token_norm=False
    ),
    "all blocks of whisper": replace(whisper_config(48, 4, 3, frames=256), pooling="layers", token_norm=False),
    "all layers of whisper": replace(WHISPER, layer_weights=True),
    "all layers by attention, with CLS": replace(
        PRESETS["small"], width=48, depth=4, frames=256, pooling="attention", layer_weights=True
    ),
}


def tagger(config: EncoderConfig) -> Tagger:
    """A random tagger whose attention is not flat and whose norms are not the identity."""
    torch.manual_seed(0)
    module = Tagger(config, LABELS).eval()
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "qkv.weight" in name:
                parameter *= 8
            elif "norm" in name or name.endswith(("prefix", "layer_weights")) or "pooling" in name:
                parameter += 0.3 * torch.randn_like(parameter)
        for name, buffer in module.named_buffers():
            if "statistics" in name:
                buffer += 0.3 * torch.rand_like(buffer)
        for norm in module.modules():
            if isinstance(norm, torch.nn.BatchNorm2d):
                norm.running_mean.normal_()  # type: ignore[union-attr]
                norm.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    return module


def run(file: Path, mel: torch.Tensor, kept: list[int]) -> dict[str, Any]:
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    inputs = {"mel": mel.numpy(), "kept": np.array(kept, np.int64)}
    return dict(zip(names, session.run(None, inputs), strict=True))


def counts(config: EncoderConfig, frames: int, rate: float) -> list[int]:
    left, found = int(np.prod(config.grid(frames))), []
    for _ in default_blocks(config.depth):
        left = kept_count(left, rate)
        found.append(left)
    return found


def write(module: Tagger, folder: Path, *, pooled_only: bool, collect: bool = False) -> Path:
    save_file(module.state_dict(), folder / "model.safetensors")
    graph = Graph(folder / "model.safetensors")
    encoder = EncoderGraph(graph, module.encoder.config)
    tokens, stages = encoder.run(*encoder.inputs(), pooled_only=pooled_only, collect=collect)
    graph.output("logits", encoder.logits(tokens), ["batch", LABELS])
    for number, cells in enumerate(stages):
        graph.output(f"stage_{number}", cells, ["batch", f"kept_{number}"], integer=True)
    if not pooled_only:
        graph.output("tokens", encoder.patches(tokens.x), ["batch", "k", module.encoder.config.width])
        graph.output("prefix", encoder.summary(tokens), ["batch", "vectors", module.encoder.config.width])
    if tokens.grid is not None:
        graph.output("grid", tokens.grid, ["batch", "n", module.encoder.config.width])
    graph.save(folder / "graph.onnx", "")
    onnx.checker.check_model(folder / "graph.onnx", full_check=True)
    return folder / "graph.onnx"


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("rate", [1.0, 0.7, 0.4])
def test_logits_and_survivors_are_those_of_torch(name: str, rate: float, tmp_path: Path) -> None:
    config = CONFIGS[name]
    module = tagger(config)
    file = write(module, tmp_path, pooled_only=True)
    for batch, frames in ((1, config.frames), (3, config.frames if config.position == "learned" else 96)):
        mel = torch.randn(batch, frames, config.mels, generator=torch.Generator().manual_seed(batch))
        with torch.inference_mode():
            expected = module(mel, uniform(config.depth, rate)).numpy()
            stages = module.encode(mel, uniform(config.depth, rate)).stages
        found = run(file, mel, counts(config, frames, rate))
        np.testing.assert_allclose(found["logits"], expected, atol=1e-5 * np.abs(expected).max(), rtol=0)
        for number, stage in enumerate(stages):
            if f"stage_{number}" in found:  # the last block drops nothing where only the prefix is computed
                np.testing.assert_array_equal(found[f"stage_{number}"], stage.numpy())


@pytest.mark.parametrize("name", CONFIGS)
def test_tokens_and_dropped_states_are_those_of_torch(name: str, tmp_path: Path) -> None:
    config = CONFIGS[name]
    module = tagger(config)
    file = write(module, tmp_path, pooled_only=False, collect=True)
    mel = torch.randn(2, config.frames, config.mels, generator=torch.Generator().manual_seed(5))
    for rate in (1.0, 0.6):
        with torch.inference_mode():
            encoded = module.encode(mel, uniform(config.depth, rate), collect_dropped=True)
        found = run(file, mel, counts(config, config.frames, rate))
        np.testing.assert_allclose(found["tokens"], encoded.tokens, atol=2e-5)
        np.testing.assert_allclose(found["prefix"], encoded.prefix, atol=2e-5)
        assert encoded.dropped is not None
        whole = encoded.dropped.scatter(1, encoded.index[:, :, None].expand_as(encoded.tokens), encoded.tokens)
        np.testing.assert_allclose(found["grid"], whole, atol=2e-5)


def write_connector(module: Tagger, connector: Connector, folder: Path) -> Path:
    """The graph of an encoder and a connector: its outputs are the prefix and, where labels are scored, `steps`."""
    state = {f"tagger.{name}": tensor for name, tensor in module.state_dict().items()}
    state |= {f"connector.{name}": tensor for name, tensor in connector.state_dict().items()}
    save_file(state, folder / "model.safetensors")
    graph, fields = Graph(folder / "model.safetensors"), connector.config
    encoder = EncoderGraph(graph, module.encoder.config, "tagger.")
    mel, kept = encoder.inputs()
    tokens, _ = encoder.run(mel, kept, collect=fields.layout == "concat", collect_blocks=fields.blocks)
    reader = ConnectorGraph(graph, encoder, fields)
    graph.output("prefix", reader.prefix(tokens, mel), ["batch", "length", fields.width])
    assert (reader.steps is not None) == bool(fields.labels)
    if reader.steps is not None:
        graph.output("steps", reader.steps, ["batch", "steps", fields.labels])
    graph.save(folder / "graph.onnx", "")
    return folder / "graph.onnx"


def assert_alike(file: Path, module: Tagger, connector: Connector) -> None:
    """A graph of `write_connector` computes what torch does, pruned and not."""
    config, fields = module.encoder.config, connector.config
    concat = fields.layout == "concat"
    for batch, frames, rate in ((2, 256, 0.6), (1, 112, 1.0)):
        values = torch.randn(batch, frames, config.mels, generator=torch.Generator().manual_seed(frames))
        with torch.inference_mode():
            pruning = uniform(config.depth, rate)
            encoded: Encoded = module.encode(values, pruning, collect_dropped=concat, collect_blocks=fields.blocks)
            expected, recognised = connector.read(encoded)
        found = run(file, values, counts(config, frames, rate))
        np.testing.assert_allclose(found["prefix"], expected.numpy(), atol=2e-5)
        if recognised is not None:
            steps = recognised[:, :-1] if fields.summary else recognised
            np.testing.assert_allclose(found["steps"], steps.sigmoid().numpy(), atol=2e-5)


@pytest.mark.parametrize(
    ("summary", "labels", "reduction", "pool", "blocks"),
    [
        (True, 5, 1, 1, ()),
        (False, 0, 1, 3, (0,)),
        (True, 0, 3, 1, (1,)),
        (False, 4, 2, 1, ()),
        (True, 3, 2, 4, (0, 1)),
    ],
)
@pytest.mark.parametrize(
    ("name", "layout"),
    [
        *product(["small", "without CLS"], ["concat", "time_major", "frequency_major"]),
        ("whisper by attention", "concat"),
        ("all layers by attention, with CLS", "time_major"),
    ],
)
def test_the_connector_is_that_of_torch(
    name: str, layout: Any, summary: bool, labels: int, reduction: int, pool: int, blocks: Any, tmp_path: Path
) -> None:
    config = CONFIGS[name]
    module = tagger(config)
    blocks = blocks if layout == "concat" else ()
    sizes = {"reduction": reduction, "pool": pool, "blocks": blocks} if layout == "concat" else {}
    fields = ConnectorConfig(48, 12, config.grid(config.frames)[1], layout, summary, labels, **sizes)
    connector = Connector(fields).eval()
    with torch.no_grad():
        for parameter in connector.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
        if connector.scale is not None:
            connector.scale.running_mean.normal_()  # type: ignore[union-attr]
            connector.scale.running_var.uniform_(0.5, 2.0)  # type: ignore[union-attr]
    assert_alike(write_connector(module, connector, tmp_path), module, connector)


@pytest.mark.parametrize(
    "kind", [{"pool_frequency": 3, "pool": 3}, {"pool_frequency": 4, "blocks": (0,)}, {"expand": 3}], ids=str
)
def test_kinds_of_connectors_that_graphs_have_are_those_of_torch(kind: dict[str, Any], tmp_path: Path) -> None:
    config = CONFIGS["small"]
    module = tagger(config)
    fields = ConnectorConfig(48, 12, config.grid(config.frames)[1], **kind)
    connector = Connector(fields).eval()
    assert_alike(write_connector(module, connector, tmp_path), module, connector)


def test_weights_stay_where_they_are(tmp_path: Path) -> None:
    file = write(tagger(CONFIGS["ast"]), tmp_path, pooled_only=True)
    initializers = onnx.load(file, load_external_data=False).graph.initializer
    outside = [tensor for tensor in initializers if tensor.data_location == onnx.TensorProto.EXTERNAL]
    assert {entry.value for tensor in outside for entry in tensor.external_data if entry.key == "location"} == {
        "model.safetensors"
    }
    assert sum(len(tensor.raw_data) for tensor in initializers) < 1000
    assert not (tmp_path / "graph.onnx.data").exists()


def test_a_missing_parameter_is_named(tmp_path: Path) -> None:
    module = tagger(CONFIGS["eat"])
    state = {name: tensor for name, tensor in module.state_dict().items() if name != "encoder.blocks.2.fc1.weight"}
    save_file(state, tmp_path / "model.safetensors")
    graph = Graph(tmp_path / "model.safetensors")
    encoder = EncoderGraph(graph, CONFIGS["eat"])
    with pytest.raises(ValueError, match=r"encoder\.blocks\.2\.fc1\.weight"):
        encoder.run(*encoder.inputs())
