"""Measuring from the command line: the machine, a run with its progress, the report."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from sonopsis.cli.console import fail, file_progress, report

if TYPE_CHECKING:
    from sonopsis.bench.report import Report
    from sonopsis.bench.timing import BenchError, Variant


def this_machine(threads: int | None = None) -> dict[str, Any]:
    """What measures; a warning if it has other work to do already."""
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
    """The report on all that could be prepared; the first of them is the baseline."""
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


def finish(
    found: "Sequence[Report]", as_json: bool, as_markdown: bool, columns: Mapping[str, str] | None = None
) -> None:
    """Print reports of one machine, in JSON as one; `columns` of their rows are shown besides the usual ones."""
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
