"""The run behind `tag` and `caption`: every input is described, and one bad file does not stop the others."""

import logging
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from sonopsis.cli.console import fail, file_progress, report
from sonopsis.cli.inputs import STDIN, Input, collect, targets

if TYPE_CHECKING:
    from sonopsis.model import Model, Request
    from sonopsis.results import FileResult

# With --output, a file that failed leaves only these behind: an empty table would look like silence.
SAY_ERRORS = {"json", "jsonl"}


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
        _standard_input_as_file(inputs) as stdin,
    ):
        results = _noted(_results(loaded, inputs, stdin, request, workers), failed, advance)
        if output is None:
            from sonopsis.writers import write

            write(results, formats[0], sys.stdout)
        else:
            _write_files(results, inputs, formats, output)
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


@contextmanager
def _standard_input_as_file(inputs: Sequence[Input]) -> Iterator[str | None]:
    """A file with what standard input holds, if it is among the inputs: it is read twice, and may exceed memory."""
    if not any(item.name == STDIN for item in inputs):
        yield None
        return
    with tempfile.NamedTemporaryFile(suffix=".stdin") as spooled:
        shutil.copyfileobj(sys.stdin.buffer, spooled)
        spooled.flush()
        yield spooled.name


def _results(
    model: "Model", inputs: Sequence[Input], stdin: str | None, request: "Request", workers: int | None
) -> Iterator["FileResult"]:
    """One result for each input, in their order, also for names without a recording."""
    from sonopsis.files import ModelError
    from sonopsis.results import FileResult

    readable = [stdin if item.name == STDIN and stdin else item.name for item in inputs if item.problem is None]
    try:
        found = model.describe_many(readable, workers=workers, **asdict(request))
        for item in inputs:
            if item.problem is not None:
                yield FileResult(item.name, 0.0, model.name, error=item.problem)
            elif item.name == STDIN and stdin:
                result = next(found)
                error = None if result.error is None else result.error.replace(stdin, "standard input")
                yield replace(result, path=STDIN, error=error)
            else:
                yield next(found)
    except ModelError as error:
        fail(str(error))


def _noted(results: Iterator["FileResult"], failed: list[str], advance: Callable[[], None]) -> Iterator["FileResult"]:
    """The results as they are; errors are reported, and `failed` gets the names of their files."""
    for result in results:
        if result.error is not None:
            report(f"error: {result.error}")
            failed.append(result.path)
        yield result
        advance()


def _write_files(
    results: Iterator["FileResult"], inputs: Sequence[Input], formats: Sequence[str], output: Path
) -> None:
    from sonopsis.writers import WRITERS, write

    places = targets(inputs)
    for result in results:
        place = output / places[result.path]
        for name in formats if result.error is None else SAY_ERRORS.intersection(formats):
            writer = WRITERS[name]
            file = Path(f"{place}{writer.suffix}")
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
                with file.open("wb") if writer.binary else file.open("w", encoding="utf-8", newline="") as stream:
                    write([result], name, stream)
            except OSError as error:
                fail(f"{output}: cannot be written to ({error.strerror}); choose another --output folder")
