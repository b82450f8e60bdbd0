"""Every verb's help ends with examples, each of which is a command line that exists; the shell can complete verbs."""

import os
import shlex
import subprocess
import sys
from typing import Any

import pytest
import typer

from sonopsis.cli.examples import EXAMPLES
from sonopsis.cli.main import app

ROOT: Any = typer.main.get_command(app)


def verbs(command: Any, path: str = "") -> dict[str, Any]:
    if not hasattr(command, "commands"):
        return {path: command}
    found: dict[str, Any] = {}
    for name, below in command.commands.items():
        found |= verbs(below, f"{path} {name}".strip())
    return found


def test_every_verb_has_examples() -> None:
    assert set(EXAMPLES) == set(verbs(ROOT))


@pytest.mark.parametrize("verb", EXAMPLES)
def test_every_example_is_shown_and_parses(verb: str) -> None:
    command = verbs(ROOT)[verb]
    context = command.context_class(command, info_name=verb)
    shown = command.get_help(context)
    for line in EXAMPLES[verb]:
        assert f"  {line}\n" in shown + "\n"
        words = shlex.split(line)
        assert words[: 1 + len(verb.split())] == ["sonopsis", *verb.split()]
        _, rest, _ = command.make_parser(context).parse_args(words[1 + len(verb.split()) :])
        assert rest == []


def test_the_shell_completes_verbs() -> None:
    asked = {"_SONOPSIS_COMPLETE": "complete_bash", "COMP_WORDS": "sonopsis capt", "COMP_CWORD": "1"}
    code = "from sonopsis.cli.main import app; app(prog_name='sonopsis')"
    found = subprocess.run([sys.executable, "-c", code], env={**os.environ, **asked}, capture_output=True, text=True)
    assert found.stdout.split() == ["caption"], found.stderr
