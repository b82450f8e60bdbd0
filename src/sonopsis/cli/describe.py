"""The run behind `tag` and `caption`: every input is described, and one bad file does not stop the others."""

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from sonopsis.cli.console import fail, file_progress, report
from sonopsis.cli.inputs import STDIN, Input, collect, targets
from sonopsis.cli.stdin import Source, standard_input

if TYPE_CHECKING:
    from sonopsis.model import Model, Request
    from sonopsis.results import Part


def describe(
    paths: Sequence[str],
    request: "Request",
    *,
    macs: float | None,
    latency: float | None,
    formats: Sequence[str] | None,
    output: Path | None,
    model: str,
    engine: str,
    precision: str | None,
    kernels: bool = False,
    workers: int | None,
    verbose: bool,
    quiet: bool,
) -> None:
    """Describe all inputs, on standard output or as files below `output`; ends with status 1 if any input failed.

    `macs` asks for the keep rate that meets a share of the encoder's MACs, `latency` for one that meets a time in
    milliseconds.
    """
    if sum(choice is not None for choice in (request.keep_rate, macs, latency)) > 1:
        raise typer.BadParameter(
            "each of these sets the keep rate; give only one of them", param_hint="--keep-rate, --macs, --latency"
        )
    if verbose:
        logging.getLogger("sonopsis").setLevel(logging.INFO)
    formats = _checked_formats(formats or ["text"], output)
    inputs = collect(paths)
    loaded = _load(model, engine, precision, request)
    if macs is not None:
        request = replace(request, keep_rate=_affordable(loaded, macs))
    if latency is not None:
        request = replace(request, keep_rate=_in_time(loaded, latency))
        if not quiet:
            report(f"keep rate {request.keep_rate:g} takes at most {latency:g} ms for a window here")
    if kernels:
        loaded.prepare()
    failed: list[str] = []
    with (
        file_progress(len(inputs), quiet, results_on_terminal=output is None and sys.stdout.isatty()) as advance,
        standard_input(any(item.name == STDIN for item in inputs)) as stdin,
    ):
        parts = _noted(_parts(loaded, inputs, stdin, request, formats, workers), failed, advance)
        if output is None:
            from sonopsis.writers import follow

            follow(parts, formats[0], sys.stdout)
        else:
            _write_files(parts, inputs, formats, output)
    if output is not None and not quiet:
        report(f"results of {len(inputs) - len(failed)} file(s) are in {output}")
    if failed:
        report(f"{len(failed)} of {len(inputs)} file(s) failed")
        raise typer.Exit(1)


def _checked_formats(formats: Sequence[str], output: Path | None) -> list[str]:
    from sonopsis.writers import WRITERS

    formats = list(dict.fromkeys(formats))
    for name in formats:
        if name not in WRITERS:
            raise typer.BadParameter(f"{name!r} is unknown; choose from {', '.join(WRITERS)}", param_hint="--format")
    if output is None and any(WRITERS[name].binary for name in formats):
        raise typer.BadParameter("arrays need a folder to go to: add --output DIR", param_hint="--format")
    if len(formats) > 1 and output is None:
        raise typer.BadParameter("several formats need a folder to go to: add --output DIR", param_hint="--format")
    return formats


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


def _parts(
    model: "Model",
    inputs: Sequence[Input],
    stdin: Source | None,
    request: "Request",
    formats: Sequence[str],
    workers: int | None,
) -> Iterator["Part"]:
    """The windows and the end of each input, in their order, also the end of names without a recording."""
    from sonopsis.files import ModelError
    from sonopsis.results import FileResult, Part
    from sonopsis.writers import WRITERS

    sources = [stdin.audio if item.name == STDIN and stdin else item.name for item in inputs if item.problem is None]
    declared = any(WRITERS[name].needs_duration for name in formats)
    try:
        found = model.follow_many(sources, request, declared=declared, workers=workers)
        for item in inputs:
            if item.problem is not None:
                yield Part(FileResult(item.name, 0.0, model.name, error=item.problem), None)
                continue
            for part in found:
                yield stdin.named(part) if item.name == STDIN and stdin else part
                if part.window is None:
                    break
    except ModelError as error:
        fail(str(error))


def _noted(parts: Iterator["Part"], failed: list[str], advance: Callable[[], None]) -> Iterator["Part"]:
    """The parts as they are; errors are reported, and `failed` gets the names of their files."""
    for part in parts:
        if part.result.error is not None:
            report(f"error: {part.result.error}")
            failed.append(part.result.path)
        yield part
        if part.window is None:
            advance()


def _write_files(parts: Iterator["Part"], inputs: Sequence[Input], formats: Sequence[str], output: Path) -> None:
    from sonopsis.cli.outputs import Folder

    with Folder(output, formats, targets(inputs)) as folder:
        try:
            folder.write(parts)
        except KeyboardInterrupt:
            for path in folder.unfinished:
                report(f"{path} holds what was done of an unfinished recording")
            raise
