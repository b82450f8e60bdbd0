"""`sonopsis train`: run a training configuration, or train a tagger of one's own labels from a folder."""

from pathlib import Path
from typing import Annotated

import typer

from sonopsis.cli.console import fail


def train(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="CONFIG|FOLDER",
            exists=True,
            help="A YAML file, as in configs/. With --from: a folder that holds a folder of recordings for each label.",
        ),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            help="Values that replace those of the YAML file, for example steps=100 data.workers=2.",
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="MODEL",
            help="Train a tagger of the folder's labels, starting from the encoder of this model: "
            "default, a folder, a file or a hub id.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="With --from: the model folder to write to.", show_default=False),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            help="With --from: also train the upper half of the encoder, for this many minutes.",
            show_default=False,
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="With --from: also train the upper half of the encoder, for this many steps of 16 examples.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Train a model. Give the same command again to continue a run that was interrupted.

    sonopsis train CONFIG [KEY=VALUE ...]             what a YAML file describes; the keys are in docs/training.md

    sonopsis train --from default FOLDER -o OUT       a tagger of your own labels: FOLDER/<label>/.../<recording>
    """
    if start is None and (output, minutes, steps) != (None, None, None):
        raise typer.BadParameter("--output, --minutes and --steps belong to --from; a YAML file has keys for them")
    if start is not None and (output is None or overrides):
        raise typer.BadParameter(
            "--from takes a folder and -o OUT, and no KEY=VALUE" if overrides else "--from needs -o OUT"
        )
    if start is None and source.is_dir():
        raise typer.BadParameter(f"{source} is a folder; to train on it: sonopsis train --from default {source} -o OUT")
    from sonopsis.training.own_labels import train_own_labels
    from sonopsis.training.run import train as run

    try:
        if start is None:
            typer.echo(run(source, overrides or []))
            return
        assert output is not None
        result = train_own_labels(start, source, output, minutes=minutes, steps=steps)
    except (ValueError, OSError) as error:
        fail(str(error))
    except KeyboardInterrupt:
        typer.echo("interrupted; the same command carries on", err=True)
        raise typer.Exit(130) from None
    typer.echo(result.text, err=True)
    typer.echo(result.folder)
