"""Writing the graphs of a model folder beside its weights."""

import json
from collections.abc import Callable
from pathlib import Path

from sonopsis.encoder.config import EncoderConfig
from sonopsis.folder import ModelConfig
from sonopsis.graphs.builder import Graph
from sonopsis.graphs.connector import ConnectorGraph, check_connector
from sonopsis.graphs.encoder import EncoderGraph
from sonopsis.graphs.lm import LMGraph, graph_config
from sonopsis.graphs.names import CAPTION, ENCODE, PREFILL, STAMP, STEP, TAG, stamp
from sonopsis.mamba2.config import Mamba2Config


def write_graphs(config: ModelConfig, weights: Path) -> list[Path]:
    """Write the graphs of a model whose parameters are in the safetensors file `weights`, into its folder.

    Raises ValueError when a parameter is missing there, a connector or a language model is one that only torch
    computes, or onnx is not installed.
    """
    check_parts(config)
    encoder = config.encoder
    scope = "" if config.lm is None else "tagger."
    written: dict[str, Callable[[Graph], str]] = {
        ENCODE: lambda graph: _encode(graph, encoder, len(config.labels), scope)
    }
    if config.labels:
        written[TAG] = lambda graph: _tag(graph, encoder, len(config.labels), scope)
    if config.lm is not None:
        lm = graph_config(config.lm)
        written |= {
            CAPTION: lambda graph: _caption(graph, encoder, config, lm),
            PREFILL: lambda graph: _prefill(graph, lm, "lm."),
            STEP: lambda graph: _step(graph, lm, "lm."),
        }
    for name, add in written.items():
        graph = Graph(weights)
        graph.save(weights.parent / name, add(graph))
    (weights.parent / STAMP).write_text(json.dumps(stamp(weights)) + "\n", encoding="utf-8")
    return [weights.parent / name for name in written]


def check_parts(config: ModelConfig) -> None:
    """Raise ValueError for a model whose connector or language model only torch computes."""
    if config.connector is not None and config.lm is not None:
        check_connector(config.connector)
        graph_config(config.lm)


def write_lm_graphs(config: Mamba2Config, weights: Path) -> list[Path]:
    """Write prefill and step of a language model alone, whose parameters are in `weights`, into its folder."""
    for name, add in ((PREFILL, _prefill), (STEP, _step)):
        graph = Graph(weights)
        graph.save(weights.parent / name, add(graph, config, ""))
    return [weights.parent / PREFILL, weights.parent / STEP]


def _tag(graph: Graph, config: EncoderConfig, labels: int, scope: str) -> str:
    encoder = EncoderGraph(graph, config, scope)
    tokens, stages = encoder.run(*encoder.inputs(), pooled_only=True)
    graph.output("logits", encoder.logits(tokens), ["batch", labels])
    _output_stages(graph, stages)
    return "normalised log-Mel and how many patches survive each pruning block -> tag logits, surviving grid cells"


def _encode(graph: Graph, config: EncoderConfig, labels: int, scope: str) -> str:
    encoder = EncoderGraph(graph, config, scope)
    tokens, stages = encoder.run(*encoder.inputs())
    if labels:
        graph.output("logits", encoder.logits(tokens), ["batch", labels])
    graph.output("tokens", encoder.patches(tokens.x), ["batch", "survivors", config.width])
    vectors = config.prefix_tokens + config.pools_by_attention
    graph.output("prefix", encoder.summary(tokens), ["batch", vectors, config.width])
    _output_stages(graph, stages)
    return "normalised log-Mel and how many patches survive each pruning block -> tokens, in the order of their cells"


def _caption(graph: Graph, config: EncoderConfig, model: ModelConfig, lm: Mamba2Config) -> str:
    assert model.connector is not None
    encoder = EncoderGraph(graph, config, "tagger.")
    mel, kept = encoder.inputs()
    connector = model.connector
    tokens, _ = encoder.run(mel, kept, collect=connector.layout == "concat", collect_blocks=connector.blocks)
    graph.output("logits", encoder.logits(tokens), ["batch", len(model.labels)])
    reader = ConnectorGraph(graph, encoder, connector)
    prefix = reader.prefix(tokens, mel)
    if reader.steps is not None:
        graph.output("steps", reader.steps, ["batch", "steps", len(model.labels)])
    batch = graph.op("Concat", graph.slice(graph.op("Shape", mel), 0, 0, 1), graph.constant([1]), axis=0)
    start = LMGraph(graph, lm, "lm.").embed(graph.op("Expand", graph.constant(model.end_of_text), batch))
    graph.output("prompt", graph.op("Concat", prefix, start, axis=1), ["batch", "length", lm.width])
    return "normalised log-Mel and how many patches survive each pruning block -> tag logits, a language model's prompt"


def _prefill(graph: Graph, config: Mamba2Config, scope: str) -> str:
    LMGraph(graph, config, scope).prefill()
    return "embeddings and the state before them -> logits after the last, and the state"


def _step(graph: Graph, config: Mamba2Config, scope: str) -> str:
    LMGraph(graph, config, scope).step()
    return "a token for each sequence and the state before it -> logits of the next, and the state"


def _output_stages(graph: Graph, stages: list[str]) -> None:
    for number, cells in enumerate(stages):
        graph.output(f"stage_{number}", cells, ["batch", f"kept_{number}"], integer=True)
