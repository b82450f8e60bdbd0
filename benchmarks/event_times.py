"""When events begin and end: event F1 with collars of 0.5 s and 1 s on composed scenes, for several ways to find times.

    python benchmarks/event_times.py ~/.cache/sonopsis/manifest.jsonl          # validation scenes: to choose
    python benchmarks/event_times.py ~/.cache/sonopsis/manifest.jsonl --test   # the frozen benchmark: for the table

The ways are: windows as long as the model's input, joined where they touch; short windows that overlap by half; and the
encoder's time axis (`sonopsis.moments`). With `--test`, short windows are left out: they were not chosen.
Labels that no recording taught are left out, as everywhere on scenes. Prints Markdown.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

import sonopsis
from sonopsis.audio import iter_windows
from sonopsis.data.clips import ClipBank
from sonopsis.data.manifest import read
from sonopsis.data.splits import Split
from sonopsis.events import join_windows
from sonopsis.metrics.event_times import Timed, events_of, score_times
from sonopsis.model import Model, Request
from sonopsis.moments import moments
from sonopsis.results import WindowResult
from sonopsis.scenes.benchmark import load_benchmark
from sonopsis.scenes.compose import compose
from sonopsis.scenes.render import render

COLLARS = (0.5, 1.0)  # s
SEED = 4
MANY = 61  # labels of a window

Samples = NDArray[np.float32]
Way = Callable[[Samples], Iterator[WindowResult]]


def windowed(model: Model, samples: Samples, *, window: float | None, hop: float | None) -> Iterator[WindowResult]:
    """The windows of a scene, of which events are joined."""
    for tags in model.tag(samples, sample_rate=16_000, top_k=MANY, window=window, hop=hop):
        yield WindowResult(tags.start, tags.end, tags.labels)


def along_time(model: Model, samples: Samples) -> Iterator[WindowResult]:
    """The same by the time axis."""
    return moments(model, iter_windows(samples, window=model.window), Request(top_k=MANY))


def ways(model: Model, short: bool) -> dict[str, Way]:
    """What is compared."""
    found: dict[str, Way] = {f"windows of {model.window:g} s": partial(windowed, model, window=None, hop=None)}
    for length in (1.0, 2.0) if short else ():
        name = f"windows of {length:g} s every {length / 2:g} s"
        found[name] = partial(windowed, model, window=length, hop=length / 2)
    return found | {"the time axis": partial(along_time, model)}


def events(windows: Iterator[WindowResult], untaught: set[str]) -> list[Timed]:
    """Joined windows as timed events."""
    joined = ((pair.label, row.start, row.end) for row in join_windows(windows) for pair in row.labels or [])
    return [Timed(*event) for event in joined if event[0] not in untaught]


def main(
    manifest: Annotated[Path, typer.Argument(exists=True, help="The clips that scenes are made of.")],
    model: Annotated[str, typer.Option(help="A model that scores its labels in time.")] = "default",
    test: Annotated[bool, typer.Option("--test", help="Read the frozen benchmark.")] = False,
    count: Annotated[int, typer.Option("--scenes", help="How many validation scenes.")] = 240,
    engine: Annotated[str, typer.Option(help="The program that computes.")] = "onnx",
) -> None:
    """Print the table."""
    loaded = sonopsis.load(model, engine=engine)
    split: Split = "test" if test else "validation"
    bank = ClipBank(read(manifest, split), manifest.parent)
    scenes = load_benchmark() if test else list(compose(bank.rows, seed=SEED, count=count, split="validation"))
    compared = ways(loaded, short=not test)
    untaught = set(loaded.folder.config.distilled_labels)
    found: dict[str, list[list[Timed]]] = {name: [] for name in compared}
    for scene in scenes:
        samples = render(scene, bank.read)
        for name, way in compared.items():
            found[name].append(events(way(samples), untaught))
    typer.echo(f"{len(scenes)} {split} scenes, {loaded.name}\n")
    typer.echo("| events from | collar | F1 (95 %) | precision | recall | onsets alone: F1 |")
    typer.echo("| --- | --- | --- | --- | --- | --- |")
    for name, lists in found.items():
        for collar in COLLARS:
            s = score_times([events_of(scene) for scene in scenes], lists, collar)
            interval = f"{s.interval[0]:.3f}-{s.interval[1]:.3f}"
            figures = f"{s.f1:.3f} ({interval}) | {s.precision:.3f} | {s.recall:.3f} | {s.onset_f1:.3f}"
            typer.echo(f"| {name} | {collar:g} s | {figures} |")


if __name__ == "__main__":
    typer.run(main)
