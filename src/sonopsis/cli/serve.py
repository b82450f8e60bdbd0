"""`sonopsis serve`: the model as an HTTP service."""

import math
import os
from typing import Annotated

import typer

from sonopsis.cli import options
from sonopsis.cli.console import fail, report

KEY = "SONOPSIS_API_KEY"


def _bytes(megabytes: float) -> float:
    """Refuses what is no number of bytes."""
    if not math.isfinite(megabytes * 1e6):
        raise typer.BadParameter("must be a number of megabytes, and there is no unlimited size; give a large number")
    return megabytes


def serve(
    host: Annotated[str, typer.Option(help="Address to listen at. 0.0.0.0 is every address of this machine.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen at; 0 takes a free one.")] = 8000,
    api_key: Annotated[
        str | None,
        typer.Option(
            envvar=KEY,
            metavar="KEY",
            show_default="none",
            help="Serve only requests with this key. Other users of this machine can read it here; the environment "
            "variable is safer.",
        ),
    ] = None,
    max_size: Annotated[
        float,
        typer.Option(min=0.001, callback=_bytes, metavar="MB", help="Refuse uploads of more megabytes than this."),
    ] = 200.0,
    max_duration: Annotated[
        float, typer.Option(min=0.1, metavar="S", help="Refuse recordings of more seconds than this.")
    ] = 3600.0,
    timeout: Annotated[
        float,
        typer.Option(min=0.1, metavar="S", help="Give up a request after this many seconds, or an upload that stalls."),
    ] = 300.0,
    queue: Annotated[
        int, typer.Option(min=0, help="Number of requests that may wait. Further ones are answered 429.")
    ] = 32,
    workers: Annotated[
        int | None, typer.Option(min=1, show_default="one per core", help="Number of windows to compute at once.")
    ] = None,
    keep_rate: options.KeepRate = None,
    model: options.ModelName = "default",
    engine: options.Engine = "auto",
    precision: options.Precision = None,
) -> None:
    """Serve tags and captions over HTTP."""
    from sonopsis.many import cores
    from sonopsis.model import load
    from sonopsis.serve import Settings, create_app
    from sonopsis.serve.server import run

    if api_key is None and os.environ.get(KEY) == "":  # click takes an empty variable for one that is not set
        fail(f"{KEY} is empty; set it to the key, or remove it to serve without a key")
    try:
        settings = Settings(int(max_size * 1e6), max_duration, timeout, queue, workers or cores(), api_key)
        app = create_app(load(model, engine=engine, keep_rate=keep_rate, dtype=precision), settings)
    except ValueError as error:
        fail(str(error))
    run(app, host, port, lambda address: report(f"sonopsis is listening at {address}"))
