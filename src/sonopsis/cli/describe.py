"""What `tag` and `caption` have in common: the model and its settings, and the run over all inputs."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import typer

import sonopsis
from sonopsis.cli.console import fail, report
from sonopsis.cli.inputs import STDIN, collect
from sonopsis.cli.journal import stamp
from sonopsis.cli.lists import named
from sonopsis.cli.run import Destination, Run
from sonopsis.cli.search import LeftOut

if TYPE_CHECKING:
    from sonopsis.model import Model, Request


def describe(
    paths: Sequence[str] | None,
    request: "Request",
    *,
    destination: Destination,
    files_from: str | None,
    macs: float | None,
    latency: float | None,
    model: str,
    engine: str,
    precision: str | None,
    kernels: bool = False,
    workers: int | None,
    executor: str,
    verbose: bool,
    quiet: bool,
) -> None:
    """Describe all inputs, those named and those in the list `files_from`; ends with status 1 if any input failed.

    `macs` asks for the keep rate that meets a share of the encoder's MACs, `latency` for one that meets a time in
    milliseconds. With the executor `ray`, the processes of a Ray cluster describe.
    """
    if sum(choice is not None for choice in (request.keep_rate, macs, latency)) > 1:
        raise typer.BadParameter(
            "each of these sets the keep rate; give only one of them", param_hint="--keep-rate, --macs, --latency"
        )
    if executor == "ray":
        _check_ray(paths)
    if verbose:
        logging.getLogger("sonopsis").setLevel(logging.INFO)
    left_out = LeftOut()
    inputs = collect(named(paths or (), files_from), left_out)
    if str(left_out) and not quiet:
        report(str(left_out))
    loaded = _load(model, engine, precision, request)
    if macs is not None:
        request = replace(request, keep_rate=_affordable(loaded, macs))
    if latency is not None:
        request = replace(request, keep_rate=_in_time(loaded, latency))
        if not quiet:
            report(f"keep rate {request.keep_rate:g} takes at most {latency:g} ms for a window here")
    if kernels:
        loaded.prepare()
    settings: dict[str, Any] = {
        "sonopsis": sonopsis.__version__,
        "model": _identity(loaded),
        "engine": loaded.engine.name,
    }
    settings |= {"precision": precision, "formats": list(destination.formats), "combined": destination.combined}
    settings |= {"events": destination.events, "clock": destination.clock, "scenes": destination.scenes}
    loads = (model, engine, precision, kernels) if executor == "ray" else None
    Run(loaded, inputs, request, destination, workers, quiet, loads).go(settings | asdict(request))


def _check_ray(paths: Sequence[str] | None) -> None:
    """Ends the program if there is no Ray, or nothing that other machines could read."""
    from sonopsis.installed import require

    require("ray", "--executor ray")
    if STDIN in (paths or ()):
        raise typer.BadParameter(
            "a cluster reads files, and no standard input; leave out --executor", param_hint="--executor"
        )


def _identity(model: "Model") -> list[Any]:
    """What tells a model from others, and from its later versions at the same place."""
    weights = model.folder.weights
    return [str(weights.resolve()), stamp(str(weights))]


def _load(name: str, engine: str, precision: str | None, request: "Request") -> "Model":
    """The model, or a line on what is wrong with it; settings that it cannot serve end the run before it begins."""
    from sonopsis.model import load

    try:
        model = load(name, engine=engine, dtype=precision)
    except ValueError as error:
        fail(str(error))
    if request.window is not None and request.window > model.window:
        raise typer.BadParameter(
            f"{name} hears at most {model.window:g} s at once; choose a shorter window", param_hint="--window"
        )
    return model


def _affordable(model: "Model", macs: float) -> float:
    """The keep rate with which a window of the model's full length costs at most a share `macs` of its MACs."""
    from sonopsis.cost import for_budget

    try:
        pruning = for_budget(model.engine.config, model.folder.mel.frames, macs, len(model.labels))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--macs") from error
    return 1.0 if pruning is None else min(pruning.keep.values())


def _in_time(model: "Model", milliseconds: float) -> float:
    """The highest keep rate with which tagging a window of the model's full length takes so long at most."""
    import numpy as np

    from sonopsis.cost.latency import for_latency

    mel = (
        np.random.default_rng(0).standard_normal((1, model.folder.mel.frames, model.folder.mel.mels)).astype(np.float32)
    )
    try:
        return for_latency(lambda rate: model.logits(mel, keep_rate=rate), milliseconds / 1000)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--latency") from error
