"""Measuring from the command line: the options that all benchmarks share, the run with its progress, the report.

`sonopsis bench` and the scripts in `benchmarks/` are written with it.
"""

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sonopsis.cli.console import fail, file_progress, report

if TYPE_CHECKING:
    from sonopsis.bench.lm import Work
    from sonopsis.bench.report import Report
    from sonopsis.bench.timing import BenchError, Variant

Peers = Annotated[bool, typer.Option("--peers", help="Also measure transformers and make it the baseline.")]
Precisions = Annotated[
    list[str] | None,
    typer.Option("--precision", show_default="all", help="float32, bfloat16 or int8; may be given several times."),
]
LanguageModel = Annotated[
    str,
    typer.Option("--model", metavar="NAME", help="130m or 370m (random weights), `default`, or a model folder."),
]
Lengths = Annotated[
    list[int] | None,
    typer.Option(
        "--length",
        min=1,
        show_default="64, 512, 2048; with --batch none",
        help="Measure reading a prompt of this many tokens; may be given several times.",
    ),
]
Batches = Annotated[
    list[int] | None,
    typer.Option(
        "--batch",
        min=1,
        show_default="1 and 16; with --length none",
        help="Measure appending tokens to this many sequences; may be given several times.",
    ),
]
Threads = Annotated[
    int | None, typer.Option(min=1, show_default="all cores", help="Number of cores and threads to use.")
]
Rounds = Annotated[int, typer.Option(min=1, help="Number of rounds; every variant runs once in each.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Markdown = Annotated[bool, typer.Option("--markdown", help="Print the machine and a Markdown table.")]


def chosen(values: Sequence[str] | None, known: Sequence[str], option: str) -> list[str]:
    """The values of a repeatable option, all known ones where it is not given; raises BadParameter for another."""
    for value in values or ():
        if value not in known:
            raise typer.BadParameter(f"{value!r} is unknown; choose from {', '.join(known)}", param_hint=option)
    return list(values or known)


def chosen_precisions(values: Sequence[str] | None) -> list[str]:
    """The precisions to measure; raises BadParameter for an unknown one."""
    return chosen(values, ("float32", "bfloat16", "int8"), "--precision")


def this_machine(threads: int | None = None) -> dict[str, Any]:
    """The machine's description; reports a warning if the machine is busy already."""
    from sonopsis.bench.machine import describe_machine, warn_if_busy

    machine = describe_machine()
    if threads is not None:
        machine["threads"] = str(threads)
    if (warning := warn_if_busy(machine)) is not None:
        report(warning)
    return machine


def measured(
    machine: dict[str, Any],
    variants: "Sequence[Variant]",
    rounds: int,
    threads: int | None = None,
    isolated: bool = True,
) -> "Report":
    """Measure variants of one piece of work; the first one that can be prepared is the baseline."""
    from sonopsis.bench.report import make_report
    from sonopsis.bench.timing import measure

    def left_out(variant: "Variant", error: "BenchError") -> None:
        report(f"left out: {' '.join(str(error).split())}")

    with file_progress(rounds + 1, quiet=False, results_on_terminal=False) as advance:
        try:
            found = measure(
                variants,
                rounds=rounds,
                warmup=1,
                isolated=isolated,
                threads=threads,
                on_round=lambda done: advance(),
                on_failure=left_out,
            )
        except ValueError as error:
            fail(str(error))
    if not found:
        fail("nothing could be measured")
    return make_report(machine, found, found[0].variant.name)


def measured_lm(
    variants: "Callable[[Path, Work, list[str], bool, int], Sequence[Variant]]",
    model: str,
    lengths: Sequence[int] | None,
    batches: Sequence[int] | None,
    precisions: Sequence[str] | None,
    peers: bool,
    rounds: int,
    threads: int | None,
) -> "list[Report]":
    """Measure a language model, one report for each piece of work.

    `variants` is called with the model's folder, the work, the precisions, whether to measure peers, and the threads.
    """
    from sonopsis.bench.lm import add_comparisons, bandwidth, find_lm, works
    from sonopsis.mamba2 import Mamba2LM
    from sonopsis.many import cores

    kinds = chosen_precisions(precisions)
    everything, found = not (lengths or batches), []
    with tempfile.TemporaryDirectory(prefix="sonopsis-bench-") as scratch:
        try:
            folder = find_lm(model, Path(scratch))
        except ValueError as error:
            fail(str(error))
        machine, config, read = this_machine(threads), Mamba2LM.load(folder).config, bandwidth()
        machine["read_gb_per_s"] = round(read / 1e9, 1)
        for work in works([64, 512, 2048] if everything else lengths or [], [1, 16] if everything else batches or []):
            todo = variants(folder, work, kinds, peers, threads or cores())
            found.append(measured(machine, todo, rounds, threads))
            add_comparisons(found[-1].rows, config, read)
    return found


def finish(
    found: "Sequence[Report]", as_json: bool, as_markdown: bool, columns: Mapping[str, str] | None = None
) -> None:
    """Print reports of one machine, in JSON as one object; `columns` names further columns of their rows."""
    from sonopsis.bench.machine import summary
    from sonopsis.bench.report import joined, markdown, show

    if as_json:
        typer.echo(json.dumps(joined(found).to_dict(), indent=1))
        return
    typer.echo(summary(found[0].machine))
    for part in found:
        if as_markdown:
            typer.echo(f"\n{markdown(part, columns)}", nl=False)
        else:
            show(part, columns)
