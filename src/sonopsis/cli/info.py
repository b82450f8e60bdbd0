"""`sonopsis info`: what a model is, before any recording is given to it."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sonopsis.cli.console import fail

if TYPE_CHECKING:
    from sonopsis.model import Model

KEEP_RATES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
PARTS = {"encoder": "tagger.encoder.", "head": "tagger.head.", "connector": "connector.", "lm": "lm."}


def info(
    model: Annotated[
        str,
        typer.Argument(
            help="The bundled model (default), a model folder, a checkpoint of AST, AudioMAE or EAT, or a hub id "
            "(owner/name or owner/name@revision)."
        ),
    ] = "default",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show a model's sizes, its cost at each keep rate, its labels and what it was trained on."""
    from sonopsis.model import load

    try:
        facts = describe_model(load(model, engine="torch"))
    except ValueError as error:
        fail(str(error))
    if as_json:
        typer.echo(json.dumps(facts, indent=1))
    else:
        _show(facts)


def describe_model(model: "Model") -> dict[str, Any]:
    """The facts `info` tells: `macs_g` are G multiply-accumulates of tagging one clip of the model's input length.

    `reference` counts as arXiv 2504.01690 does, `executed` what is really computed.
    """
    from sonopsis.cost import encoder_macs

    config, frames = model.engine.config, model.folder.mel.frames
    macs = {}
    for rate in KEEP_RATES:
        count = encoder_macs(config, frames, rate, len(model.labels))
        macs[str(rate)] = {"reference": round(count.reference, 6), "executed": round(count.executed, 6)}
    sizes = {name: parameter.numel() for name, parameter in model.module.named_parameters()}
    whole = sizes if model.engine.captions else {f"tagger.{name}": size for name, size in sizes.items()}
    parts = {part: sum(n for name, n in whole.items() if name.startswith(start)) for part, start in PARTS.items()}
    return {
        "name": model.name,
        "family": config.family,
        "parameters": sum(sizes.values()),
        "parts": {part: size for part, size in parts.items() if size},
        "file_mb": round(model.folder.weights.stat().st_size / 1e6, 2),
        "window": model.window,
        "keep_rate": model.keep_rate,
        "macs_g": macs,
        "labels": list(model.labels),
        "training": model.folder.config.training,
    }


def _show(facts: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(soft_wrap=True, highlight=False)
    parts = ", ".join(f"{part} {size / 1e6:.2f} M" for part, size in facts["parts"].items())
    console.print(f"{facts['name']}: family {facts['family']}, {facts['parameters'] / 1e6:.2f} M parameters ({parts})")
    console.print(f"{facts['file_mb']} MB on disk, window {facts['window']:g} s, keep rate {facts['keep_rate']:g}")
    table = Table("keep rate", "reference", "executed", title="G MACs of tagging one window", title_justify="left")
    for rate, count in facts["macs_g"].items():
        table.add_row(rate, f"{count['reference']:.3f}", f"{count['executed']:.3f}")
    console.print(table)
    console.print(f"{len(facts['labels'])} labels: {', '.join(facts['labels'])}", markup=False)
    if facts["training"]:
        console.print("training:", markup=False)
        for name, value in facts["training"].items():
            console.print(f"  {name}: {value}", markup=False)
