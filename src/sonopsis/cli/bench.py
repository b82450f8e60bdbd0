"""`sonopsis bench`: how fast this machine is with it, and with what else there is, side by side in one run."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from sonopsis.cli.console import fail, report
from sonopsis.cli.measuring import finish, measured, this_machine

app = typer.Typer(no_args_is_help=True, help="Measure speed: variants interleaved in one run, each in its own process.")

Model = Annotated[
    str,
    typer.Option(
        "--model",
        metavar="NAME",
        help="ast, ast_stride10, audiomae or eat (full size, random weights), `default`, a folder or a checkpoint.",
    ),
]
Peers = Annotated[bool, typer.Option("--peers", help="Also measure what others have; transformers' is the baseline.")]
KeepRates = Annotated[
    list[float] | None,
    typer.Option("--keep-rate", min=0.01, max=1, show_default="1 and 0.7", help="Keep rates; repeatable."),
]
Engines = Annotated[
    list[str] | None, typer.Option("--engine", show_default="all", help="torch, openvino or onnx; repeatable.")
]
Precisions = Annotated[
    list[str] | None,
    typer.Option("--precision", show_default="all", help="float32, bfloat16 or int8; repeatable."),
]
Threads = Annotated[int | None, typer.Option(min=1, show_default="all cores", help="Cores and threads to use.")]
Rounds = Annotated[int, typer.Option(min=1, help="Rounds; in each every variant runs once.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Markdown = Annotated[bool, typer.Option("--markdown", help="Print the machine and a Markdown table.")]


@app.command()
def encoder(
    model: Model = "ast",
    peers: Peers = False,
    keep_rates: KeepRates = None,
    engines: Engines = None,
    precisions: Precisions = None,
    batch: Annotated[int, typer.Option(min=1, help="Clips in one call; times are for one clip.")] = 1,
    threads: Threads = None,
    rounds: Rounds = 10,
    as_json: Json = False,
    as_markdown: Markdown = False,
) -> None:
    """Time the encoder: log-Mel of a 10 s clip to logits."""
    from sonopsis.bench.encoder import export_for, make_work, variants
    from sonopsis.bench.weights import find_subject

    engines, precisions = _chosen_engines(engines), _chosen_precisions(precisions)
    with tempfile.TemporaryDirectory(prefix="sonopsis-bench-") as scratch:
        try:
            subject = find_subject(model, Path(scratch))
            subject, missing = export_for(subject, engines, precisions, Path(scratch) / "exported")
            work = make_work(subject, batch, Path(scratch))
        except ValueError as error:
            fail(str(error))
        there = _without(engines, missing)
        found = variants(work, there, keep_rates or [1.0, 0.7], precisions, peers)
        finish([measured(this_machine(threads), found, rounds, threads)], as_json, as_markdown)


@app.command()
def pipeline(
    clips: Annotated[int, typer.Option(min=1, help="Recordings, of 1 to 10 s in five formats.")] = 200,
    at_once: Annotated[int, typer.Option(min=1, help="Recordings in one timed call, as in one folder.")] = 20,
    model: Model = "ast",
    peers: Peers = False,
    keep_rates: KeepRates = None,
    engines: Engines = None,
    precisions: Precisions = None,
    threads: Threads = None,
    as_json: Json = False,
    as_markdown: Markdown = False,
) -> None:
    """Time a folder of recordings: files in, tags out; milliseconds are for one recording."""
    from sonopsis.bench.encoder import export_for
    from sonopsis.bench.pipeline import variants
    from sonopsis.bench.sounds import write_clips
    from sonopsis.bench.weights import find_subject

    engines, precisions = _chosen_engines(engines), _chosen_precisions(precisions)
    if clips % at_once:
        raise typer.BadParameter(f"{clips} clips are not a multiple of {at_once}", param_hint="--at-once")
    with tempfile.TemporaryDirectory(prefix="sonopsis-bench-") as scratch:
        sounds = Path(scratch) / "clips"
        sounds.mkdir()
        try:
            subject = find_subject(model, Path(scratch))
            subject, missing = export_for(subject, engines, precisions, Path(scratch) / "exported")
            written = write_clips(sounds, clips)
        except ValueError as error:
            fail(str(error))
        there = _without(engines, missing)
        found = variants(subject, written, at_once, there, keep_rates or [1.0, 0.7], precisions, peers)
        finish([measured(this_machine(threads), found, clips // at_once, threads)], as_json, as_markdown)


@app.command()
def start(
    model: Model = "default",
    engines: Engines = None,
    rounds: Rounds = 10,
    as_json: Json = False,
    as_markdown: Markdown = False,
) -> None:
    """Time whole commands in fresh processes: Python alone, the help text, the tags of one second of sound."""
    from sonopsis.bench.encoder import export_for
    from sonopsis.bench.sounds import write_clips
    from sonopsis.bench.start import variants
    from sonopsis.bench.weights import find_subject

    engines = _chosen_engines(engines)
    with tempfile.TemporaryDirectory(prefix="sonopsis-bench-") as scratch:
        try:
            subject = find_subject(model, Path(scratch))
            subject, missing = export_for(subject, engines, ["float32"], Path(scratch) / "exported")
        except ValueError as error:
            fail(str(error))
        (clip,) = write_clips(Path(scratch), 1)
        found = variants(str(subject.path), clip, _without(engines, missing))
        finish([measured(this_machine(), found, rounds, isolated=False)], as_json, as_markdown)


@app.command()
def lm(
    model: Annotated[
        str,
        typer.Option("--model", metavar="NAME", help="130m or 370m (random weights), `default`, or a model folder."),
    ] = "130m",
    peers: Peers = False,
    lengths: Annotated[
        list[int] | None,
        typer.Option(
            "--length",
            min=1,
            show_default="64, 512, 2048; with --batch none",
            help="Read a prompt of so many tokens; repeatable.",
        ),
    ] = None,
    batches: Annotated[
        list[int] | None,
        typer.Option(
            "--batch",
            min=1,
            show_default="1 and 16; with --length none",
            help="Append tokens to so many sequences; repeatable.",
        ),
    ] = None,
    precisions: Precisions = None,
    threads: Threads = None,
    rounds: Rounds = 5,
    as_json: Json = False,
    as_markdown: Markdown = False,
) -> None:
    """Time the language model: reading prompts and appending tokens; each piece of work is one run."""
    from sonopsis.bench.lm import add_comparisons, bandwidth, find_lm, has_llama, variants, works
    from sonopsis.mamba2 import Mamba2LM
    from sonopsis.many import cores

    precisions = _chosen_precisions(precisions)
    if peers and not has_llama():
        report('llama.cpp is left out; to measure it too: pip install "sonopsis[peers]"')
    found = []
    with tempfile.TemporaryDirectory(prefix="sonopsis-bench-") as scratch:
        try:
            folder = find_lm(model, Path(scratch))
        except ValueError as error:
            fail(str(error))
        machine, config, read = this_machine(threads), Mamba2LM.load(folder).config, bandwidth()
        machine["read_gb_per_s"] = round(read / 1e9, 1)
        everything = not (lengths or batches)
        for work in works([64, 512, 2048] if everything else lengths or [], [1, 16] if everything else batches or []):
            todo = variants(folder, work, precisions, peers, threads or cores())
            found.append(measured(machine, todo, rounds, threads))
            add_comparisons(found[-1].rows, config, read)
    columns = {"tokens_per_s": "tokens/s", "over_llama": "× llama.cpp", "over_floor": "× floor"}
    finish(found, as_json, as_markdown, columns)


@app.command("train-step")
def train_step(
    trained: Annotated[
        list[str] | None, typer.Option(show_default="both", help="What is trained: all or lora; repeatable.")
    ] = None,
    peers: Peers = False,
    width: Annotated[int, typer.Option(min=64, help="Width of the language model, a multiple of 32.")] = 768,
    depth: Annotated[int, typer.Option(min=1, help="Its layers.")] = 24,
    batch: Annotated[int, typer.Option(min=1, help="Sequences in one step.")] = 8,
    length: Annotated[int, typer.Option(min=2, help="Tokens of a sequence.")] = 200,
    caption: Annotated[int, typer.Option(min=1, help="Tokens at its end that are learned.")] = 30,
    threads: Threads = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds; in each every variant runs once.")] = 3,
    as_json: Json = False,
    as_markdown: Markdown = False,
) -> None:
    """Time a step of training a captioner's Mamba-2 (random weights): forward and backward, without an optimiser."""
    from sonopsis.bench.train_step import TRAINED, Shape, variants

    chosen = _chosen(trained, TRAINED, "--trained")
    try:
        shape = Shape(width, depth, batch=batch, length=length, caption=caption)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--caption") from error
    found = variants(shape, chosen, peers)
    finish([measured(this_machine(threads), found, rounds, threads)], as_json, as_markdown)


@app.command()
def growth(
    contexts: Annotated[
        list[int] | None,
        typer.Option(
            "--context", min=1, show_default="64, 512, 2048, 8192, 32768", help="Tokens read before; repeatable."
        ),
    ] = None,
    peers: Annotated[bool, typer.Option("--peers", help="Also measure transformers' GPT-NeoX of equal size.")] = False,
    width: Annotated[int, typer.Option(min=64, help="Width of the language models, a multiple of 64.")] = 768,
    depth: Annotated[int, typer.Option(min=2, help="Layers of Mamba-2; the Transformer has half as many.")] = 24,
    threads: Threads = None,
    rounds: Rounds = 10,
    as_json: Json = False,
    as_markdown: Markdown = False,
) -> None:
    """Time one more token behind ever longer contexts (random weights); the shortest context is the baseline."""
    from sonopsis.bench.growth import CONTEXTS, Shape, variants

    try:
        shape = Shape(width, depth)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--width and --depth") from error
    try:
        found = variants(shape, contexts or CONTEXTS, peers)
    except ValueError as error:
        fail(str(error))
    columns = {"context": "context", "cache_mib": "cache MiB"}
    finish([measured(this_machine(threads), found, rounds, threads)], as_json, as_markdown, columns)


def _chosen_engines(engines: list[str] | None) -> list[str]:
    from sonopsis.bench.encoder import PRECISIONS

    return _chosen(engines, tuple(PRECISIONS), "--engine")


def _chosen_precisions(precisions: list[str] | None) -> list[str]:
    return _chosen(precisions, ("float32", "bfloat16", "int8"), "--precision")


def _chosen(values: list[str] | None, known: tuple[str, ...], option: str) -> list[str]:
    for value in values or ():
        if value not in known:
            raise typer.BadParameter(f"{value!r} is unknown; choose from {', '.join(known)}", param_hint=option)
    return values or list(known)


def _without(engines: Sequence[str], missing: dict[str, str]) -> list[str]:
    for engine, reason in missing.items():
        report(f"engine {engine} is left out: {' '.join(reason.split())}")
    return [engine for engine in engines if engine not in missing]
