"""`sonopsis sweep`: many training runs along the axes of a YAML file, and their table at any time."""

import json
from pathlib import Path
from typing import Annotated

import typer

from sonopsis.cli.console import fail, report


def sweep(
    source: Annotated[
        Path,
        typer.Argument(metavar="CONFIG", exists=True, dir_okay=False, help="A YAML file, as in configs/sweeps/."),
    ],
    table: Annotated[
        bool, typer.Option("--table", help="Train nothing: show what there is, while the sweep runs or after it.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the table as JSON.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the table as CSV.")] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Try the trials that failed once more.")] = False,
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="The database, in place of the file's; for example postgresql+psycopg://user@host/sweeps.",
            show_default="study.db in the sweep's output",
        ),
    ] = None,
) -> None:
    """Train every configuration of a sweep, and compare them on validation recordings.

    Give the same command again to continue a sweep that was interrupted. Give it in several terminals, or on several
    machines with a --storage that all of them reach, and they share the work.
    """
    if as_json and as_csv:
        raise typer.BadParameter("give --json or --csv, not both")
    if table and retry:
        raise typer.BadParameter("--table trains nothing; leave out --retry")
    from sonopsis.study.sweep import open_study, run_sweep
    from sonopsis.study.sweepfile import load_sweep
    from sonopsis.study.sweeptable import as_csv as table_csv
    from sonopsis.study.sweeptable import summary, text, write_table

    try:
        wanted = load_sweep(source, storage)
        study = open_study(wanted) if table else run_sweep(wanted, retry=retry, tell=report)
        found = summary(wanted, study)
        page = wanted.output / "sweep.html"
        write_table(wanted, found, page)
    except (ValueError, OSError) as error:
        fail(str(error))
    except KeyboardInterrupt:
        report("interrupted; the same command carries on")
        raise typer.Exit(130) from None
    typer.echo(json.dumps(found, indent=1) if as_json else table_csv(found).rstrip("\n") if as_csv else text(found))
    report(f"wrote {page}, {page.with_suffix('.csv').name} and {page.with_suffix('.json').name}")
    if not table and found["states"]["failed"]:
        raise typer.Exit(1)
