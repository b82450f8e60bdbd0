"""`sonopsis bench`: the speed of this package on this machine, beside that of others, all measured in one run."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sonopsis.cli.console import fail, report
from sonopsis.cli.measuring import (
    Batches,
    Json,
    LanguageModel,
    Lengths,
    Markdown,
    Peers,
    Precisions,
    Rounds,
    Threads,
    chosen,
    chosen_precisions,
    finish,
    measured,
    measured_lm,
    this_machine,
)

if TYPE_CHECKING:
    from sonopsis.bench.weights import Subject

app = typer.Typer(
    no_args_is_help=True,
    help="Measure speed. All variants are measured in turns, in one run, each in a process of its own.",
)

Model = Annotated[
    str,
    typer.Option(
        "--model",
        metavar="NAME",
        help="ast, ast_stride10, audiomae, eat, whisper-tiny, whisper-base or whisper-small (full size, random "
        "weights), default, a folder or a checkpoint.",
    ),
]
KeepRates = Annotated[
    list[float] | None,
    typer.Option(
        "--keep-rate",
        min=0.01,
        max=1,
        show_default="1 and 0.7",
        help="Keep rate to measure; may be given several times.",
    ),
]
Engines = Annotated[
    list[str] | None,
    typer.Option("--engine", show_default="all", help="torch, openvino or onnx; may be given several times."),
]


@app.command()
def encoder(
    model: Model = "ast",
    peers: Peers = False,
    keep_rates: KeepRates = None,
    engines: Engines = None,
    precisions: Precisions = None,
    seconds: Annotated[
        float | None, typer.Option(min=0.1, show_default="10", help="Length of a clip, at most what the model hears.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Number of clips in one call; times are for one clip.")] = 1,
    threads: Threads = None,
    rounds: Rounds = 10,
    as_json: Json = False,
    as_markdown: Markdown = False,
) -> None:
    """Measure the encoder: from the log-Mel of a clip to logits."""
    from sonopsis.bench.encoder import make_work, variants

    with _subject(model, engines, precisions) as (subject, engines, precisions, scratch):
        try:
            work = make_work(subject, batch, scratch, seconds)
        except ValueError as error:
            fail(str(error))
        found = variants(work, engines, keep_rates or [1.0, 0.7], precisions, peers)
        finish([measured(this_machine(threads), found, rounds, threads)], as_json, as_markdown)


@app.command()
def pipeline(
    clips: Annotated[int, typer.Option(min=1, help="Number of recordings, of 1 to 10 s, in five formats.")] = 200,
    at_once: Annotated[int, typer.Option(min=1, help="Number of recordings in one timed call.")] = 20,
    model: Model = "ast",
    peers: Peers = False,
    keep_rates: KeepRates = None,
    engines: Engines = None,
    precisions: Precisions = None,
    threads: Threads = None,
    as_json: Json = False,
    as_markdown: Markdown = False,
) -> None:
    """Measure a folder of recordings: from files to tags. Milliseconds are for one recording."""
    from sonopsis.bench.pipeline import variants
    from sonopsis.bench.sounds import write_clips

    if clips % at_once:
        raise typer.BadParameter(f"{clips} clips are not a multiple of {at_once}", param_hint="--at-once")
    with _subject(model, engines, precisions) as (subject, engines, precisions, scratch):
        written = write_clips(scratch, clips)
        found = variants(subject, written, at_once, engines, keep_rates or [1.0, 0.7], precisions, peers)
        finish([measured(this_machine(threads), found, clips // at_once, threads)], as_json, as_markdown)


@app.command()
def start(
    model: Model = "default",
    clip: Annotated[
        Path | None,
        typer.Option("--clip", exists=True, dir_okay=False, show_default="made sounds", help="A recording."),
    ] = None,
    engines: Engines = None,
    rounds: Rounds = 10,
    as_json: Json = False,
    as_markdown: Markdown = False,
) -> None:
    """Measure whole commands in new processes: Python alone, the help text, and one recording tagged and captioned.

    Made sounds can be unclear to a model, which then writes no caption; give a recording to measure that.
    """
    from sonopsis.bench.sounds import write_clips
    from sonopsis.bench.start import variants

    with _subject(model, engines, ["float32"]) as (subject, engines, _, scratch):
        found = variants(str(subject.path), clip or write_clips(scratch, 1)[0], engines)
        finish([measured(this_machine(), found, rounds, isolated=False)], as_json, as_markdown)


@app.command()
def lm(
    model: LanguageModel = "130m",
    peers: Peers = False,
    lengths: Lengths = None,
    batches: Batches = None,
    precisions: Precisions = None,
    threads: Threads = None,
    rounds: Rounds = 5,
    as_json: Json = False,
    as_markdown: Markdown = False,
) -> None:
    """Measure the language model: reading prompts, and appending tokens. Each is a run of its own."""
    from sonopsis.bench.lm import variants

    found = measured_lm(variants, model, lengths, batches, precisions, peers, rounds, threads)
    finish(found, as_json, as_markdown, {"tokens_per_s": "tokens/s", "over_floor": "× floor"})


@contextmanager
def _subject(
    model: str, engines: list[str] | None, precisions: list[str] | None
) -> "Iterator[tuple[Subject, list[str], list[str], Path]]":
    """The model with graphs, the engines that can run it, the precisions to measure, and a folder for what is written.

    Engines without a graph of this model, and precisions without hardware, are reported and left out.
    """
    from sonopsis.bench.encoder import PRECISIONS, export_for
    from sonopsis.bench.weights import find_subject
    from sonopsis.processor import processor

    engines, precisions = chosen(engines, tuple(PRECISIONS), "--engine"), chosen_precisions(precisions)
    for precision in precisions:
        if not processor().computes(precision):
            report(f"precision {precision} is left out: this processor has no instructions for it")
    precisions = [precision for precision in precisions if processor().computes(precision)]
    with tempfile.TemporaryDirectory(prefix="sonopsis-bench-") as folder:
        scratch = Path(folder)
        try:
            subject = find_subject(model, scratch)
            subject, missing = export_for(subject, engines, precisions, scratch / "exported")
        except ValueError as error:
            fail(str(error))
        for engine, reason in missing.items():
            report(f"engine {engine} is left out: {' '.join(reason.split())}")
        yield subject, [engine for engine in engines if engine not in missing], precisions, scratch
