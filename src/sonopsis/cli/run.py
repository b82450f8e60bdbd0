"""A run over recordings: each is described in turn, results go where they belong, and what fails stops nothing."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from sonopsis.cli.console import fail, report
from sonopsis.cli.errors import ErrorList
from sonopsis.cli.inputs import STDIN, Input, targets
from sonopsis.cli.progress import progress
from sonopsis.cli.stdin import standard_input

if TYPE_CHECKING:
    from sonopsis.cli.outputs import Output
    from sonopsis.many import Recording
    from sonopsis.model import Model, Request
    from sonopsis.results import Part

INTERRUPTED = 130  # the exit status of a program that Ctrl-C ended


@dataclass(frozen=True)
class Destination:
    """What rows are written, and where they go, as the command line says it; raises BadParameter for what cannot be
    together."""

    formats: Sequence[str]
    output: Path | None = None  # None: standard output
    combined: bool = False  # one file for each format
    resume: bool = False
    errors: Path | None = None  # a table of what failed
    events: bool = False  # a row for each event, and not for each window
    clock: bool = False  # with date and time
    scenes: bool = False  # a row for each scene, and not for each window

    def __post_init__(self) -> None:
        from sonopsis.installed import installed
        from sonopsis.writers import WRITERS

        for name in self.formats:
            if name not in WRITERS:
                raise typer.BadParameter(
                    f"{name!r} is unknown; choose from {', '.join(WRITERS)}", param_hint="--format"
                )
        for name in self.formats:
            needs = WRITERS[name].needs
            if needs is not None and not installed(needs):
                raise typer.BadParameter(f"{name} needs {needs}: pip install 'sonopsis[{name}]'", param_hint="--format")
            if WRITERS[name].binary and self.output is None:
                raise typer.BadParameter(f"{name} needs a folder to go to: add --output DIR", param_hint="--format")
        arrays = any(WRITERS[name].embeddings for name in self.formats)
        if arrays and self.combined:
            raise typer.BadParameter("arrays are of one recording each: leave out --combined", param_hint="--format")
        for option, given in (("--events", self.events), ("--scenes", self.scenes)):
            if arrays and given:
                raise typer.BadParameter("windows have embeddings, events and scenes have none", param_hint=option)
        if len(self.formats) > 1 and self.output is None:
            raise typer.BadParameter("several formats need a folder to go to: add --output DIR", param_hint="--format")
        for option, given in (("--combined", self.combined), ("--resume", self.resume)):
            if given and self.output is None:
                raise typer.BadParameter("this is about a folder with results: add --output DIR", param_hint=option)


@dataclass(frozen=True)
class Run:
    """What to do: the recordings `inputs`, in this order, and what is asked about each."""

    model: "Model"
    inputs: Sequence[Input]
    request: "Request"
    destination: Destination
    workers: int | None
    quiet: bool
    loads: tuple[str, str, str | None, bool] | None = None  # on a cluster: model, engine, precision, kernels

    def go(self, settings: Mapping[str, Any]) -> None:
        """Describe all inputs; ends the program with status 1 if any failed. `settings` are what results depend on."""
        errors = ErrorList(self.destination.errors)
        if self.destination.output is None:
            with errors:
                self._print(errors)
        else:
            self._write(self.destination.output, settings, errors)
        if errors.count:
            report(f"{errors.count} of {len(self.inputs)} file(s) failed")
            raise typer.Exit(1)

    def _print(self, errors: ErrorList) -> None:
        from sonopsis.writers import follow

        if sys.stdout is None:
            fail("standard output is closed; leave it open, or write to a folder with --output DIR")
        with self._parts(self.inputs, errors) as parts:
            follow(parts, self.destination.formats[0], sys.stdout, clock=self.destination.clock)

    def _write(self, folder: Path, settings: Mapping[str, Any], errors: ErrorList) -> None:
        from sonopsis.cli.journal import Journal, NotGoingOn

        try:
            journal = Journal(folder, settings, resume=self.destination.resume)
            with errors:  # only now: until the folder is ours, the table may be that of a run which goes on
                before = self._go_on(self._output(folder, journal), errors)
            journal.close(keep=self.destination.resume)
        except NotGoingOn as error:
            fail(str(error))
        except OSError as error:
            fail(f"{folder}: cannot be written to ({error.strerror}); choose another --output folder")
        if not self.quiet:
            done = len(self.inputs) - errors.count
            earlier = f", {before} of them from an earlier run" if before else ""
            report(f"results of {done} file(s) are in {folder}{earlier}")

    def _go_on(self, output: "Output", errors: ErrorList) -> int:
        """Describe what an earlier run has not finished; returns the number of recordings that it has."""
        before = output.finished([item.name for item in self.inputs])
        for name, problem in before.items():
            if problem is not None:
                errors.add(name, problem)
        left = [item for item in self.inputs if item.name not in before]
        try:
            with output, self._parts(left, errors) as parts:
                output.write(parts)
        except KeyboardInterrupt:
            for path in output.unfinished:
                report(f"{path} has what was done")
            report(f"stopped; {self._how_to_go_on()}")
            raise typer.Exit(INTERRUPTED) from None
        return sum(problem is None for problem in before.values())

    def _how_to_go_on(self) -> str:
        live = [item.name == STDIN for item in self.inputs]
        if all(live):
            return "standard input cannot be heard again, and the same command writes its files anew"
        but = ", but standard input cannot be heard again" if any(live) else ""
        return f"the same command with --resume goes on{but}"

    def _output(self, folder: Path, journal: Any) -> "Output":
        from sonopsis.cli.outputs import Combined, Folder

        formats, clock = self.destination.formats, self.destination.clock
        if self.destination.combined:
            return Combined(folder, formats, journal, clock=clock)
        return Folder(folder, formats, journal, targets(self.inputs), clock=clock)

    def _follow(self, sources: Sequence["Recording"], declared: bool) -> Iterator["Part"]:
        """The windows of all recordings that can be read, or their scenes, or for events what the time axis tells."""
        from sonopsis.moments import follow_moments, tells_times
        from sonopsis.passages import follow_scenes

        moments = self.destination.events and tells_times(self.model)
        if self.loads is not None:
            from sonopsis.scale import Job, follow_on_cluster

            way = "scenes" if self.destination.scenes else "moments" if moments else "windows"
            job = Job(*self.loads, self.request, way, declared)
            return follow_on_cluster(job, [str(source) for source in sources], workers=self.workers)
        follow = None
        if self.destination.scenes:
            follow = partial(follow_scenes, self.model)
        elif moments:
            follow = partial(follow_moments, self.model)
        return self.model.follow_many(sources, self.request, follow=follow, declared=declared, workers=self.workers)

    @contextmanager
    def _parts(self, inputs: Sequence[Input], errors: ErrorList) -> Iterator[Iterator["Part"]]:
        """The windows and the end of each input, in their order, also the end of names without a recording; errors are
        reported on the way."""
        from sonopsis.events import join_parts
        from sonopsis.files import ModelError
        from sonopsis.recorders import began
        from sonopsis.results import FileResult, Part
        from sonopsis.writers import WRITERS

        on_terminal = self.destination.output is None and sys.stdout.isatty()
        declared = any(WRITERS[name].needs_duration for name in self.destination.formats)
        with (
            progress(len(inputs), self.quiet, results_on_terminal=on_terminal) as watch,
            standard_input(any(item.name == STDIN for item in inputs)) as stdin,
        ):
            sources = [
                stdin.audio if item.name == STDIN and stdin else item.name for item in inputs if item.problem is None
            ]

            def parts() -> Iterator[Part]:
                found = self._follow(sources, declared)
                for item in inputs:
                    if item.problem is not None:
                        failed = Part(FileResult(item.name, 0.0, self.model.name, error=item.problem), None)
                        watch(failed)
                        yield failed
                        continue
                    moment = began(item.name) if self.destination.clock and item.name != STDIN else None
                    for part in found:
                        watch(part)
                        named = stdin.named(part) if item.name == STDIN and stdin else part
                        yield named._replace(result=replace(named.result, began=moment)) if moment else named
                        if part.window is None:
                            break

            try:
                yield _noted(join_parts(parts()) if self.destination.events else parts(), errors)
            except ModelError as error:
                fail(str(error))


def _noted(parts: Iterator["Part"], errors: ErrorList) -> Iterator["Part"]:
    """The parts as they are, with every error noted."""
    for part in parts:
        if part.result.error is not None:
            errors.add(part.result.path, part.result.error)
        yield part
