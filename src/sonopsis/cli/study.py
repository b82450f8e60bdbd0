"""`sonopsis study`: what pruning costs a model on recordings, and what the dropped patches are, as reports."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sonopsis.cli.console import fail, file_progress, report

if TYPE_CHECKING:
    from sonopsis.model import Model
    from sonopsis.study.clips import Clips

app = typer.Typer(
    no_args_is_help=True,
    help="Study a model on recordings: one HTML report, with its numbers as JSON beside it. Give the same command "
    "again to continue a study that was interrupted.",
)

ModelName = Annotated[
    str, typer.Argument(metavar="MODEL", help="The bundled model (default), a model folder, a checkpoint, or a hub id.")
]
Source = Annotated[
    Path,
    typer.Argument(
        metavar="MANIFEST|FOLDER",
        exists=True,
        help="A list of clips (JSON Lines), or a folder that holds a folder of recordings for each label.",
    ),
]
Output = Annotated[Path, typer.Option("-o", "--output", help="The HTML file to write.")]
SplitName = Annotated[str, typer.Option("--split", help="Which clips to use: test, validation, train or all.")]
Limit = Annotated[
    int | None, typer.Option(min=1, help="Draw so many clips, always the same ones.", show_default="all clips")
]
Device = Annotated[str | None, typer.Option(help="Where torch computes, as cpu or cuda.", show_default="cpu")]


@app.command()
def pruning(
    model: ModelName,
    source: Source,
    output: Output = Path("pruning.html"),
    split: SplitName = "test",
    limit: Limit = None,
    device: Device = None,
) -> None:
    """What each way to prune saves and what it costs in accuracy, with no training."""
    with _ready(model, source, split, limit, device) as (loaded, clips):
        from sonopsis.study.page import write_tradeoff
        from sonopsis.study.tradeoff import study

        with _progress(len(clips.clips)) as progress:
            found = study(loaded, clips, output.with_suffix(".predictions.jsonl"), progress=progress)
        write_tradeoff(found, output)
    report(f"wrote {output} and {output.with_suffix('.json').name}")


@app.command()
def importance(
    model: ModelName,
    source: Source,
    output: Output = Path("importance.html"),
    split: SplitName = "test",
    limit: Limit = None,
    keep_rate: Annotated[
        float, typer.Option(min=0.01, max=0.99, help="Share of the patches that each pruning block keeps.")
    ] = 0.5,
    device: Device = None,
) -> None:
    """What the patches are that pruning drops, and whether the model needs them."""
    with _ready(model, source, split, limit, device) as (loaded, clips):
        from sonopsis.study.importance import overlays, study
        from sonopsis.study.page import write_importance

        predictions = output.with_suffix(".predictions.jsonl")
        with _progress(len(clips.clips)) as progress:
            found = study(loaded, clips, predictions, keep_rate=keep_rate, progress=progress)
        write_importance(found, overlays(loaded, clips, keep_rate), output)
    report(f"wrote {output} and {output.with_suffix('.json').name}")


@app.command()
def tokens(
    model: ModelName,
    source: Source,
    output: Output = Path("tokens.html"),
    against: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="A second model beside the first: before fine-tuning, or of another size.",
            show_default=False,
        ),
    ] = None,
    split: SplitName = "test",
    limit: Limit = None,
    device: Device = None,
) -> None:
    """How many directions the tokens of each layer use, and how alike they are, with and without pruning."""
    with _ready(model, source, split, limit, device) as (loaded, clips):
        from sonopsis.model import load
        from sonopsis.study.page import write_tokens
        from sonopsis.study.tokens import study

        models = [loaded] if against is None else [loaded, load(against, engine="torch", device=device)]
        with _progress(len(clips.clips)) as progress:
            found = study(models, clips, output.with_suffix(".predictions.jsonl"), progress=progress)
        write_tokens(found, output)
    report(f"wrote {output} and {output.with_suffix('.json').name}")


@contextmanager
def _ready(
    model: str, source: Path, split: str, limit: int | None, device: str | None
) -> "Iterator[tuple[Model, Clips]]":
    """The model and the clips; what is wrong with them, or is found wrong later, ends the program in one line."""
    import sonopsis.study.importance
    import sonopsis.study.page  # noqa: F401 - before the work, so that a missing package is known at once
    from sonopsis.model import load
    from sonopsis.study.clips import find_clips

    group: Any = None if split == "all" else split  # checked by the reader of the manifest
    try:
        loaded = load(model, engine="torch", device=device)
        clips = find_clips(loaded, source, group, limit)
        report(f"{len(clips.clips)} clips with labels the model knows")
        yield loaded, clips
    except (ValueError, OSError) as error:
        fail(str(error))


@contextmanager
def _progress(clips: int) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on a terminal, and elsewhere a line for each tenth of the clips."""
    if sys.stderr.isatty():
        with file_progress(clips, quiet=False, results_on_terminal=False) as advance:
            yield lambda done, total: advance()
        return
    said = 0

    def tell(done: int, total: int) -> None:
        nonlocal said
        if 10 * done // total > said:
            said = 10 * done // total
            report(f"{done} of {total} clips")

    yield tell
