"""The run behind `tag` and `caption`: every input described, one bad file never in the way of the others."""

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from sonopsis.cli.console import fail, file_progress, report
from sonopsis.cli.inputs import STDIN, Input, collect, targets
from sonopsis.many import cores, in_order

if TYPE_CHECKING:
    from sonopsis.model import Model
    from sonopsis.results import FileResult

# With --output, a file that failed leaves only these behind: an empty table would look like silence.
SAY_ERRORS = {"json", "jsonl"}


@dataclass(frozen=True)
class Settings:
    """What is asked of `Model.describe`, by its own names."""

    captions: bool
    top_k: int
    threshold: float | None
    window: float | None  # seconds
    hop: float | None  # seconds
    beams: int
    keep_rate: float | None


def describe(
    paths: Sequence[str],
    settings: Settings,
    macs: float | None,
    latency: float | None,
    formats: Sequence[str] | None,
    output: Path | None,
    model: str,
    engine: str,
    precision: str | None,
    workers: int | None,
    quiet: bool,
) -> None:
    """Describe all inputs, on standard output or as files below `output`; ends with status 1 if any input failed.

    `macs` asks for the keep rate that meets a share of the encoder's MACs, `latency` for one that meets a time in
    milliseconds.
    """
    if sum(choice is not None for choice in (settings.keep_rate, macs, latency)) > 1:
        raise typer.BadParameter("each chooses the keep rate; give one", param_hint="--keep-rate, --macs, --latency")
    formats = _checked_formats(formats or ["text"], output)
    inputs = collect(paths)
    loaded = _load(model, engine, precision, settings)
    if macs is not None:
        settings = replace(settings, keep_rate=_affordable(loaded, macs))
    if latency is not None:
        settings = replace(settings, keep_rate=_in_time(loaded, latency))
        if not quiet:
            report(f"keep rate {settings.keep_rate:g} takes at most {latency:g} ms for a window here")
    failed: list[str] = []
    with file_progress(len(inputs), quiet, results_on_terminal=output is None and sys.stdout.isatty()) as advance:
        results = describe_inputs(loaded, inputs, settings, workers or cores(), failed, advance)
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
    if len(formats) > 1 and output is None:
        raise typer.BadParameter("several formats need a folder to go to: add --output DIR", param_hint="--format")
    return formats


def _load(name: str, engine: str, precision: str | None, settings: Settings) -> "Model":
    """The model, or a line on what is wrong with it; settings that it cannot serve end the run before it begins."""
    from sonopsis.model import load

    try:
        model = load(name, engine=engine, dtype=precision)
    except ValueError as error:
        fail(str(error))
    if settings.window is not None and settings.window > model.window:
        raise typer.BadParameter(f"{name} hears {model.window:g} s at once", param_hint="--window")
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
    from sonopsis.mel import MELS

    mel = np.random.default_rng(0).standard_normal((1, model.folder.mel.frames, MELS)).astype(np.float32)
    try:
        return for_latency(lambda rate: model.logits(mel, keep_rate=rate), milliseconds / 1000)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--latency") from error


def describe_inputs(
    model: "Model",
    inputs: Sequence[Input],
    settings: Settings,
    workers: int,
    failed: list[str],
    advance: Callable[[], None],
) -> Iterator["FileResult"]:
    """One result for each input, in their order; those that failed hold their error, and `failed` gets their names."""
    from sonopsis.folder import ModelError
    from sonopsis.results import FileResult

    def work(item: Input) -> "FileResult":
        try:
            return _one(model, item, settings)
        except ModelError:  # the same for every file
            raise
        except Exception as error:
            return FileResult(item.name, 0.0, model.name, error=_one_line(error, item.name))

    at_once = min(workers, len(inputs))
    model.engine.use_threads(max(1, workers // at_once))
    try:
        for item, result in zip(inputs, in_order(work, inputs, at_once), strict=True):
            if result.error is not None:
                report(f"error: {result.error}")
                failed.append(item.name)
            yield result
            advance()
    except ModelError as error:
        fail(str(error))


def _one(model: "Model", item: Input, settings: Settings) -> "FileResult":
    if item.problem is not None:
        raise ValueError(item.problem)
    if item.name != STDIN:
        return model.describe(item.name, **asdict(settings))
    with tempfile.NamedTemporaryFile(suffix=".stdin") as spooled:  # it is read twice, and may be longer than memory
        shutil.copyfileobj(sys.stdin.buffer, spooled)
        spooled.flush()
        try:
            return replace(model.describe(spooled.name, **asdict(settings)), path=STDIN)
        except ValueError as error:
            raise ValueError(str(error).replace(spooled.name, "standard input")) from error


def _one_line(error: Exception, name: str) -> str:
    """An error's text as one line that names the file; what nobody foresaw is called an internal error."""
    text = " ".join(str(error).split()) or type(error).__name__
    if not isinstance(error, ValueError | OSError):
        text = f"internal error, please report it: {type(error).__name__}: {text}"
    return text if isinstance(error, ValueError) and text.startswith((name, "standard input")) else f"{name}: {text}"


def _write_files(
    results: Iterator["FileResult"], inputs: Sequence[Input], formats: Sequence[str], output: Path
) -> None:
    from sonopsis.writers import WRITERS, write

    places = targets(inputs)
    for result in results:
        place = output / places[result.path]
        for name in formats if result.error is None else SAY_ERRORS.intersection(formats):
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
                with open(f"{place}{WRITERS[name].suffix}", "w", encoding="utf-8", newline="") as stream:
                    write([result], name, stream)
            except OSError as error:
                fail(f"{output}: cannot be written to ({error.strerror}); choose another --output folder")
