"""What a person reads beside the results, all of it on standard error."""

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

import typer

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EBADF)  # why a disk takes no more


def report(line: str) -> None:
    """One line on standard error (not by rich: a path must come out as it is, and so must a long line).

    It is written as a whole: `print` writes its end apart, and warnings come from several threads.
    """
    sys.stderr.write(f"{line}\n")


def fail(message: str) -> NoReturn:
    """End the program with status 1 and one line."""
    report(f"error: {' '.join(message.split())}")
    raise typer.Exit(1)


@contextmanager
def checked_output() -> Iterator[None]:
    """What is written inside reaches its place, or the program ends in one line that says why not."""
    try:
        try:
            yield
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # while there is still somebody who says what fails
    except OSError as error:
        if error.errno not in FULL:
            raise
        with suppress(OSError):  # what waits to be written would fail again when the program ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        place = error.filename or "the output"
        fail(f"{place}: cannot be written to ({error.strerror}); make room there, or choose another place")


@contextmanager
def file_progress(files: int, quiet: bool, results_on_terminal: bool) -> Iterator[Callable[[], None]]:
    """A progress bar over `files` on a terminal; yields the function to call after each file.

    There is no bar where results appear on the same screen: they are the progress.
    """
    if quiet or results_on_terminal or files < 2 or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), "files", TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False) as bar:
        task = bar.add_task("", total=files)
        yield lambda: bar.advance(task)
