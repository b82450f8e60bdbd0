"""The command, in process."""

from collections.abc import Callable

import pytest
from click.testing import Result
from typer.testing import CliRunner

from sonopsis.cli.main import app

Run = Callable[..., Result]


@pytest.fixture
def sonopsis() -> Run:
    """`sonopsis("tag", path, ...)`: the command with its arguments, in this process."""

    def run(*arguments: object, stdin: bytes = b"") -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)

    return run
