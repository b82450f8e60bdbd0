"""`sonopsis eval`: the figures of a model card, computed again."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from sonopsis.cli import options
from sonopsis.cli.console import fail


def evaluate(
    model: Annotated[str, typer.Argument(help="The bundled model (default), a model folder, or a hub id.")],
    manifest: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="A list of clips or of scenes (JSON Lines).")
    ],
    split: Annotated[
        str, typer.Option(help="Which rows of the manifest to use: test, validation, train or all.")
    ] = "test",
    keep_rate: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            max=1.0,
            help="Share of the patches that each pruning block keeps.",
            show_default="the model's own",
        ),
    ] = None,
    engine: Annotated[str, typer.Option(help="The program that computes: torch, onnx or openvino.")] = "torch",
    precision: options.Precision = None,
    embedder: Annotated[
        str | None,
        typer.Option(
            metavar="minilm|DIR",
            help="Also compare captions with references, and with labels, by their meaning: text embeddings of "
            "all-MiniLM-L6-v2 (`make minilm`), or of the sentence-transformers model in a folder.",
            show_default="no text embeddings",
        ),
    ] = None,
    elsewhere: Annotated[
        bool,
        typer.Option("--elsewhere", help="Also METEOR, SPICE, SPIDEr and FENSE, where their programs are installed."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure a model on held-out recordings."""
    from sonopsis.metrics.embedding import open_embedder
    from sonopsis.metrics.evaluate import evaluate as run
    from sonopsis.model import load

    group: Any = None if split == "all" else split  # checked by the reader of the manifest
    try:
        embed = None if embedder is None else open_embedder(embedder)
        loaded = load(model, engine=engine, dtype=precision, keep_rate=keep_rate)
        figures = run(loaded, manifest, split=group, embed=embed, elsewhere=elsewhere)
    except (ValueError, OSError) as error:
        fail(str(error))
    if as_json:
        typer.echo(json.dumps(figures, indent=1))
        return
    rows = list(_flat(figures))
    width = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        typer.echo(f"{name:<{width}}  {value:.4f}" if isinstance(value, float) else f"{name:<{width}}  {value}")


def _flat(figures: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested figures as lines: `captions.order_accuracy`."""
    for name, value in figures.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
