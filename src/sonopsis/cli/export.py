"""`sonopsis export`: a model as a folder of ours, or for another program."""

from pathlib import Path
from typing import Annotated

import typer

from sonopsis.cli.console import fail


def export(
    model: Annotated[
        str,
        typer.Argument(
            help="The bundled model `default`, a model folder, a checkpoint of AST, AudioMAE or EAT, or a hub id."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="A new or empty folder.")],
    to: Annotated[
        str,
        typer.Option(
            metavar="FORM",
            help="folder: a model folder; onnx, openvino: with graphs for these; int8: one of them in eight bits; "
            "hf: for transformers' ASTForAudioClassification.",
        ),
    ] = "folder",
) -> None:
    """Write a model as a folder of another form."""
    from sonopsis.export import TARGETS
    from sonopsis.model import load

    if to not in TARGETS:
        raise typer.BadParameter(f"choose one of {', '.join(TARGETS)}", param_hint="--to")
    try:
        load(model, engine="torch").export(output, to=to)
    except ValueError as error:
        fail(str(error))
    except OSError as error:
        fail(f"{output}: cannot be written to ({error.strerror})")
