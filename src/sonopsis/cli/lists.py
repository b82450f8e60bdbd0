"""Names of recordings from a list, for more of them than a command line holds."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from sonopsis.cli.inputs import STDIN

OPTION = "--files-from"


def named(arguments: Sequence[str], place: str | None) -> list[str]:
    """The arguments, and what the list at `place` (`-`: standard input) names; BadParameter if there is no name."""
    if place == STDIN and STDIN in arguments:
        raise typer.BadParameter("standard input is either a list or a recording", param_hint=OPTION)
    names = [*arguments, *([] if place is None else read_list(place))]
    if not names:
        raise typer.BadParameter("name a recording, a folder or a list of them", param_hint=f"PATHS or {OPTION}")
    return names


def read_list(place: str) -> list[str]:
    """The names in a file, or on standard input (`-`): one on each line, or, as `find -print0` writes them, each
    before a zero byte. BadParameter if it cannot be read."""
    try:
        data = sys.stdin.buffer.read() if place == STDIN else Path(place).read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"{place}: cannot be read ({error.strerror})", param_hint=OPTION) from error
    data = data.removeprefix(b"\xef\xbb\xbf")  # some editors begin a file with this mark
    lines = data.split(b"\0") if b"\0" in data else [line.removesuffix(b"\r") for line in data.split(b"\n")]
    names = [os.fsdecode(line) for line in lines if line]
    return [f"./{name}" if name == STDIN else name for name in names]
