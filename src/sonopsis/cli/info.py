"""`sonopsis info`: what a model is, before any recording is given to it."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sonopsis.cli.console import fail

if TYPE_CHECKING:
    from rich.console import Console


def info(
    model: Annotated[
        str,
        typer.Argument(
            help="The bundled model (default), a model folder, a checkpoint of AST, AudioMAE, EAT or Whisper, or a hub "
            "id (owner/name or owner/name@revision)."
        ),
    ] = "default",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show a model's sizes, its cost at each keep rate, its labels and what it was trained on."""
    from sonopsis.facts import describe_model
    from sonopsis.model import load

    try:
        facts = describe_model(load(model))
    except ValueError as error:
        fail(str(error))
    if as_json:
        typer.echo(json.dumps(facts, indent=1))
    else:
        _show(facts)


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
    _show_labels(console, facts["classes"])
    if facts["training"]:
        console.print("training:", markup=False)
        for name, value in facts["training"].items():
            console.print(f"  {name}: {value}", markup=False)


def _show_labels(console: "Console", classes: list[dict[str, Any]]) -> None:
    """The labels as a tree below the classes of the ontology; others in one line."""
    from sonopsis.ontology import entries, tree

    found = {entry["label"]: entry for entry in classes}
    known = [label for label in found if label in entries()]
    console.print(f"{len(classes)} labels", markup=False)
    for depth, name, is_label in tree(known):
        text = name
        if is_label:
            text = f"- {name}  {found[name]['id'] or '(no id)'}{'  (distilled)' if found[name]['distilled'] else ''}"
        console.print("  " * (depth + 1) + text, markup=False)
    if len(known) < len(found):
        console.print("  " + "; ".join(label for label in found if label not in entries()), markup=False)
    if count := sum(entry["distilled"] for entry in classes):
        console.print(f"  {count} marked (distilled): learned from a teacher's outputs, without labelled recordings")
