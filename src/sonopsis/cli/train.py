"""`sonopsis train`: run a training configuration, or carry on where it stopped."""

from pathlib import Path
from typing import Annotated

import typer

from sonopsis.cli.console import fail


def train(
    config: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A YAML file, as in configs/.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Keys set anew: steps=100 data.workers=2")
    ] = None,
) -> None:
    """Train a model; a run that was interrupted is resumed."""
    try:
        from sonopsis.training.run import train as run
    except ModuleNotFoundError as error:
        fail(f"training needs {error.name}; install it with: pip install 'sonopsis[train]'")
    try:
        folder = run(config, overrides or [])
    except (ValueError, OSError) as error:
        fail(str(error))
    typer.echo(folder)
