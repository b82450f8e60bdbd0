"""`sonopsis ask`: questions about a recording, answered window by window."""

import json
from typing import Annotated

import typer

from sonopsis.cli import options
from sonopsis.cli.console import fail

Recording = Annotated[str, typer.Argument(metavar="PATH", help="A recording.")]
Questions = Annotated[
    list[str],
    typer.Argument(metavar="QUESTION...", help='For example "is there a dog?" or "what comes first?".'),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print a list with an object for each answer.")]


def ask(
    path: Recording,
    questions: Questions,
    keep_rate: options.KeepRate = None,
    window: options.WindowLength = None,
    hop: options.Hop = None,
    as_json: AsJson = False,
    model: options.ModelName = "default",
    engine: options.Engine = "auto",
) -> None:
    """Answer questions about a recording: what is there, how often, what comes first, what lies behind.

    Each window is heard once, whatever the number of questions. docs/ask.md lists what can be asked.
    """
    from sonopsis.model import load

    try:
        loaded = load(model, engine=engine)
        answers = loaded.ask(path, questions, window=window, hop=hop, keep_rate=keep_rate)
    except ValueError as error:
        fail(str(error))
    if as_json:
        typer.echo(json.dumps([answer.to_dict() for answer in answers], indent=1, ensure_ascii=False))
        return
    times = {(answer.start, answer.end) for answer in answers}
    for answer in answers:
        place = f"{answer.start:.1f}-{answer.end:.1f} s  " if len(times) > 1 else ""
        typer.echo(f"{place}{answer.question} {answer.text}")
