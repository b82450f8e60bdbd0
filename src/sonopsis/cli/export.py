"""`sonopsis export`: a model as a folder of ours, or for another program."""

from pathlib import Path
from typing import Annotated

import typer

from sonopsis.cli.console import fail


def export(
    model: Annotated[
        str,
        typer.Argument(
            help="The bundled model (default), a model folder, a checkpoint of AST, AudioMAE, EAT or Whisper, or a hub "
            "id."
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to write to; it must be new or empty.")
    ],
    to: Annotated[
        str,
        typer.Option(
            metavar="FORM",
            help="folder: a model folder. onnx or openvino: the same with graphs for these engines. int8: the same "
            "with a tagging graph in eight bits as well. hf: for transformers, from an AST or a Whisper encoder.",
        ),
    ] = "folder",
) -> None:
    """Write a model as a folder for sonopsis or for another program."""
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
