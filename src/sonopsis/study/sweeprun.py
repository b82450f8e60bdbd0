"""One run of a sweep: `sonopsis train` in a process of its own, and the small JSON file that it leaves."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from sonopsis.study.sweepfile import Point, Sweep
from sonopsis.training.config import TrainConfig
from sonopsis.training.environment import ENVIRONMENT
from sonopsis.training.kept import find_kept
from sonopsis.training.log import LOG

OUTPUT = "train.log"  # what the process wrote, in the run's folder
SCENES = "scenes"  # what a frozen encoder heard; runs that hear the same share it


class RunFailed(RuntimeError):
    """A run ended without a model; the message is its last line."""


def run_once(sweep: Sweep, point: Point, seed: int) -> dict[str, Any]:
    """Train one point with one seed, unless its JSON file is there; returns what that file holds.

    A run that was stopped goes on from its checkpoint. Raises RunFailed with the last line of what it wrote.
    """
    name = sweep.run_name(point)
    folder = sweep.output / "runs" / name / f"seed{seed}"
    result = sweep.output / "results" / f"{name}-seed{seed}.json"
    try:
        config = sweep.config(point, seed, folder)
    except ValueError as error:  # values that do not go together
        raise RunFailed(str(error)) from error
    with _locked(folder) as lock:
        if (found := _finished(result, config)) is not None:
            return found
        _share_scenes(sweep.output / SCENES, folder / SCENES)
        overrides = [*sweep.overrides(point), f"seed={seed}", f"output={folder}"]
        command = ["sonopsis", "train", str(sweep.base), *overrides]
        began = time.perf_counter()
        _train(command[1:], folder / OUTPUT, lock)
        figures, step = validation(folder)
        if sweep.objective not in figures:
            raise RunFailed(
                f"its validation has no figure {sweep.objective!r}, which the sweep's `objective` names; "
                f"it has {', '.join(figures) or 'none'}"
            )
        environment = json.loads((folder / ENVIRONMENT).read_text(encoding="utf-8"))
        found = {
            "point": point,
            "seed": seed,
            "objective": sweep.objective,
            "value": figures[sweep.objective],
            "metrics": figures,
            "step": step,
            "seconds": round(time.perf_counter() - began, 1),
            "parameters": environment["parameters"],
            "trainable": environment["trainable"],
            "command": command,
            "config": asdict(config),
            "environment": environment,
        }
        result.parent.mkdir(parents=True, exist_ok=True)
        scratch = result.with_suffix(".part")
        scratch.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        scratch.replace(result)
        for checkpoint in folder.glob("checkpoint*"):  # nobody goes on from them
            shutil.rmtree(checkpoint)
    return found


def validation(folder: Path) -> tuple[dict[str, float], int]:
    """The figures of the validation whose weights a run's model has, and its step; none and 0 without one."""
    kept = find_kept(folder)
    found: tuple[dict[str, float], int] = ({}, 0)
    for line in (folder / LOG).read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        figures = {name.removeprefix("val_"): value for name, value in record.items() if name.startswith("val_")}
        if figures and (kept is None or record["step"] == kept.step):
            found = figures, record["step"]
    return found


def _finished(result: Path, config: TrainConfig) -> dict[str, Any] | None:
    """What a finished run of this configuration has left, wherever its folder was."""
    if not result.is_file():
        return None
    found = json.loads(result.read_text(encoding="utf-8"))
    now = json.loads(json.dumps(asdict(config)))
    return found if {**found["config"], "output": None} == {**now, "output": None} else None


def _train(arguments: list[str], output: Path, lock: IO[str]) -> None:
    """Run `sonopsis` and wait; Ctrl-C, SIGTERM and the death of this process end it with a checkpoint."""
    with output.open("ab") as stream, _pipe() as end:
        # In a session of its own, a Ctrl-C on the terminal does not reach it, so that it is told once.
        process = subprocess.Popen(
            [sys.executable, "-m", "sonopsis.study.leash", str(end), *arguments],
            stdout=stream,
            stderr=stream,
            stdin=subprocess.DEVNULL,
            pass_fds=[lock.fileno(), end],
            start_new_session=True,
        )
        try:
            code = process.wait()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGTERM)
            process.wait()
            raise
    if code < 0:
        hint = ": perhaps memory was short; lower batch_size or micro_batch" if code == -signal.SIGKILL else ""
        raise RunFailed(f"its process was killed by {signal.Signals(-code).name}{hint}")
    if code:
        lines = output.read_text(encoding="utf-8", errors="replace").split("\n")
        raise RunFailed(
            next((line.strip() for line in reversed(lines) if line.strip()), f"it ended with status {code}")
        )


@contextmanager
def _pipe() -> Iterator[int]:
    """The end for reading of a pipe whose other end is closed with this process, and by no child of it."""
    reading, writing = os.pipe()
    try:
        yield reading
    finally:
        os.close(reading)
        os.close(writing)


@contextmanager
def _locked(folder: Path) -> Iterator[IO[str]]:
    """Wait until no process trains in a folder, and let no other one begin; the system takes the lock from the dead."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield stream


def _share_scenes(shared: Path, own: Path) -> None:
    """Let runs share the files of `data.scenes`, whose folders are named by all that decides their content."""
    shared.mkdir(parents=True, exist_ok=True)
    if not own.exists():
        own.symlink_to(shared.resolve(), target_is_directory=True)
