"""Names of recordings from a list, for more of them than a command line holds."""

import codecs
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
    if place == STDIN and sys.stdin is None:
        raise typer.BadParameter("standard input is closed; give the list through a pipe", param_hint=OPTION)
    try:
        data = sys.stdin.buffer.read() if place == STDIN else Path(place).read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"{place}: cannot be read ({error.strerror or error})", param_hint=OPTION) from error
    data = _without_mark(data, place)
    if b"\0" in data:
        names = [os.fsdecode(line) for line in data.split(b"\0")]
    else:
        names = [_trimmed(os.fsdecode(line.removesuffix(b"\r"))) for line in data.split(b"\n")]
    return [f"./{name}" if name == STDIN else name for name in names if name]


def _without_mark(data: bytes, place: str) -> bytes:
    """The list without the mark that some programs begin a file with; it tells UTF-16, which Windows' write, by it."""
    if not data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.removeprefix(codecs.BOM_UTF8)
    try:
        return os.fsencode(data.decode("utf-16"))
    except UnicodeError as error:
        raise typer.BadParameter(
            f"{place}: is a list in UTF-16 that is cut off or damaged; save it as UTF-8", param_hint=OPTION
        ) from error


def _trimmed(name: str) -> str:
    """A line's name; without the spaces behind it where that is a file, and with them none."""
    short = name.rstrip()
    return short if not os.path.lexists(name) and os.path.lexists(short) else name
