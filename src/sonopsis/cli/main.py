"""The command `sonopsis`: its verbs, and what holds for all of them.

Results go to standard output; logs, warnings and progress to standard error. Exit status: 0 when all went well, 1 when
a file, a model or a run failed, 2 when the command line makes no sense.
"""

import logging
import os
import sys
from collections import UserDict
from contextlib import redirect_stderr
from importlib import import_module
from typing import Annotated, Any

import typer
import typer.core
import typer.main

import sonopsis
from sonopsis.cli.console import checked_output, fail, report
from sonopsis.cli.examples import epilog
from sonopsis.installed import MissingPackageError, needed_by

# Verb -> what it is in the file of its name: a function, or `app`, a group of verbs.
VERBS = {
    "tag": "tag",
    "caption": "caption",
    "ask": "ask",
    "info": "info",
    "eval": "evaluate",
    "export": "export",
    "serve": "serve",
    "train": "train",
    "sweep": "sweep",
    "data": "app",
    "bench": "app",
    "study": "app",
}


class _Read(UserDict[str, Any]):
    """Verb -> its command; the file of a verb is read when the verb is asked for, and no other."""

    def __getitem__(self, verb: str) -> Any:
        if isinstance(found := super().__getitem__(verb), str):
            found = self.data[verb] = _command(verb, getattr(import_module(f"sonopsis.cli.{verb}"), found))
        return found


class _Verbs(typer.core.TyperGroup):
    """The verbs; one that needs a package of an extra that is not there says so in one line."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _Read(VERBS)

    def main(self, *arguments: Any, **options: Any) -> Any:
        if sys.stderr is not None:
            return super().main(*arguments, **options)
        # It was closed (`2>&-`). Messages go nowhere, and no file that is opened gets the number of standard error.
        with open(os.devnull, "w", encoding="utf-8", errors="backslashreplace") as nowhere, redirect_stderr(nowhere):
            return super().main(*arguments, **options)

    def list_commands(self, ctx: Any) -> list[str]:
        return list(VERBS)

    def invoke(self, ctx: Any) -> Any:
        try:
            with needed_by("this command"), checked_output():
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


def _command(verb: str, part: Any) -> Any:
    """A verb, or a group of verbs, with the examples that its help ends with."""
    frame = typer.Typer(rich_markup_mode=None)
    if isinstance(part, typer.Typer):
        for command in part.registered_commands:
            command.epilog = epilog(f"{verb} {command.name or getattr(command.callback, '__name__', '')}")
        frame.add_typer(part, name=verb)
    else:
        frame.command(verb, epilog=epilog(verb))(part)
    return typer.main.get_group(frame).commands[verb]
