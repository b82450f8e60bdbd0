"""The command `sonopsis`: its verbs, and what holds for all of them.

Results go to standard output; logs, warnings and progress to standard error. Exit status: 0 when all went well, 1 when
a file, a model or a run failed, 2 when the command line makes no sense.
"""

import logging
from typing import Annotated, Any

import typer
import typer.core

import sonopsis
from sonopsis.cli import ask, bench, caption, data, eval, export, info, serve, study, sweep, tag, train
from sonopsis.cli.console import fail, report
from sonopsis.cli.examples import epilog
from sonopsis.installed import MissingPackageError, needed_by


class _Verbs(typer.core.TyperGroup):
    """The verbs; one that needs a package of an extra that is not there says so in one line."""

    def invoke(self, ctx: Any) -> Any:
        try:
            with needed_by("this command"):
                return super().invoke(ctx)
        except MissingPackageError as error:
            fail(str(error))


app = typer.Typer(
    name="sonopsis",
    cls=_Verbs,
    no_args_is_help=True,
    rich_markup_mode=None,  # the drawing of boxes would be a third of the time that --help takes
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sonopsis {sonopsis.__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Tell what is in a recording, in labels and in sentences."""
    # A handler of its own, and not basicConfig: a progress bar replaces sys.stderr while it is drawn.
    logging.basicConfig(handlers=[_ToStandardError()], level=logging.WARNING)


class _ToStandardError(logging.Handler):
    """Log records as one line each: `warning: street.wav: ...`."""

    def emit(self, record: logging.LogRecord) -> None:
        report(f"{record.levelname.lower()}: {record.getMessage()}")


app.command("tag")(tag.tag)
app.command("caption")(caption.caption)
app.command("ask")(ask.ask)
app.command("info")(info.info)
app.command("eval")(eval.evaluate)
app.command("export")(export.export)
app.command("serve")(serve.serve)
app.command("train")(train.train)
app.command("sweep")(sweep.sweep)
app.add_typer(data.app, name="data")
app.add_typer(bench.app, name="bench")
app.add_typer(study.app, name="study")

for command in app.registered_commands:
    command.epilog = epilog(f"{command.name}")
for group in app.registered_groups:
    for command in group.typer_instance.registered_commands if group.typer_instance else ():
        command.epilog = epilog(f"{group.name} {command.name or getattr(command.callback, '__name__', '')}")
