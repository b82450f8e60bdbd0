"""Commands one after the other, each skipped when its result is there; killed at any moment, the next call carries on.

A stage is done while its command and the files it reads are what they were when it ended, and its result exists. A list
of the done stages with the digests of their files is kept as JSON. Commands must bear being started again. One that
changes a folder in place gets a copy, which becomes the result when the command has ended; so does what is printed.
"""

import fcntl
import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

RESULT = "{result}"  # in a command: the place of the result
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StageError(ValueError):
    """A stage that cannot begin or has failed; the message is one line that says what to do."""


@dataclass(frozen=True)
class Stage:
    """A command of the plan; relative paths are below the folder that it runs in."""

    name: str
    command: tuple[str, ...]
    reads: tuple[Path, ...] = ()  # files and folders that decide the result
    result: Path | None = None  # None: the command is quick, and run every time
    copies: Path | None = None  # the result begins as a copy of this folder
    printed: bool = False  # the result is what the command prints
    begun: Path | None = (
        None  # a folder in which the command carries on; it must not with other files than it began with
    )


def run_stages(stages: Sequence[Stage], record: Path, folder: Path) -> int:
    """Run in `folder` what is not done, one line to stdout for each stage; `record` is the list, relative to `folder`.

    Returns 0, or 128 + the number of the signal that stopped it, after the command has ended. Raises StageError for a
    command that fails, for a run that began with other files, and while another call or its command is at work.
    """
    file = folder / record
    file.parent.mkdir(parents=True, exist_ok=True)
    with _only_one(file.with_suffix(".lock")) as lock, _forwarding() as child:
        for number, stage in enumerate(stages, 1):
            known = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
            title = f"{number}/{len(stages)} {stage.name}"
            before, now = known.get(stage.name), _digests(stage, folder)
            if stage.result is not None and before == now | {"done": True} and (folder / stage.result).exists():
                print(f"{title}: done before", flush=True)
                continue
            if stage.begun is not None and before is not None and (folder / stage.begun).exists():
                _check_same_files(stage, before, now)
            print(f"{title}: {shown(stage)}", flush=True)
            _write(file, known | {stage.name: now | {"done": False}})
            status = _run(stage, folder, child, lock)
            if child.stopped is not None:
                print(f"{title}: stopped; the same command carries on", flush=True)
                return 128 + child.stopped
            if status:
                raise StageError(
                    f"{stage.name} ended with the exit status {status}; the lines above say why. Start again to go on"
                )
            _write(file, known | {stage.name: now | {"done": True}})
    return 0


def shown(stage: Stage) -> str:
    """A stage's command as one line, which can be given to a shell."""
    words = [word.replace(RESULT, str(stage.result)) for word in stage.command]
    return " ".join(shlex.join(words).splitlines())


def digest(path: Path) -> str:
    """SHA-256 of a file, or of a folder's files and names; of YAML what it says. "missing" where there is nothing."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
        return _hash("\n".join(f"{file.relative_to(path)} {digest(file)}" for file in files).encode())
    if not path.is_file():
        return "missing"
    if path.suffix == ".yaml":
        return _hash(json.dumps(yaml.safe_load(path.read_text(encoding="utf-8")), sort_keys=True).encode())
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@dataclass
class _Child:
    """The command at work, and the signal that was passed on to it."""

    process: "subprocess.Popen[bytes] | None" = None
    stopped: int | None = None

    def stop(self, number: int) -> None:
        self.stopped = number
        if self.process is not None:
            self.process.send_signal(number)


def _run(stage: Stage, folder: Path, child: _Child, lock: int) -> int:
    """Run a stage's command and put its result in place; returns its exit status."""
    result = None if stage.result is None else folder / stage.result
    part = None
    if result is not None and (stage.copies is not None or stage.printed):
        part = result.with_name(result.name + ".part")
        _remove(part)
        part.parent.mkdir(parents=True, exist_ok=True)
        if stage.copies is not None:
            shutil.copytree(folder / stage.copies, part)
    command = [word.replace(RESULT, str(part or result)) for word in stage.command]
    with open(part, "wb") if part is not None and stage.printed else _nowhere() as output:
        if child.stopped is None:
            # A group of its own: Ctrl-C in a terminal reaches it once, through this process. The command holds the
            # lock too, so that it is not started a second time beside itself when this process alone is killed.
            child.process = subprocess.Popen(command, cwd=folder, stdout=output, pass_fds=(lock,), process_group=0)
            if child.stopped is not None:  # by a signal that came before there was a process to pass it on to
                child.process.send_signal(child.stopped)
            status = child.process.wait()
            child.process = None
        else:
            status = 1
    if status == 0 and child.stopped is None and part is not None and result is not None:
        _remove(result)
        part.rename(result)
    return status


def _digests(stage: Stage, folder: Path) -> dict[str, Any]:
    """What decides whether a stage is done."""
    return {"command": list(stage.command), "reads": {str(path): digest(folder / path) for path in stage.reads}}


def _check_same_files(stage: Stage, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise StageError when a run would carry on with other files than those it began with."""
    names = sorted(before["reads"].keys() | now["reads"].keys())
    changed = [name for name in names if before["reads"].get(name) != now["reads"].get(name)]
    if before["command"] != now["command"]:
        changed.append("the command")
    if changed:
        raise StageError(
            f"{stage.name}: since {stage.begun} was begun, something has changed: {', '.join(changed)}. Delete that "
            "folder to begin anew, or undo the change"
        )


@contextmanager
def _forwarding() -> Iterator[_Child]:
    """Pass signals that ask to stop on to the command, which may have something to save."""
    child = _Child()

    def handler(number: int, frame: Any) -> None:
        child.stop(number)

    before = {number: signal.signal(number, handler) for number in FORWARDED}
    try:
        yield child
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextmanager
def _only_one(path: Path) -> Iterator[int]:
    """A lock, which a command that is still at work holds too; raises StageError when it is taken."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StageError(
                f"{path} is in use: a command that was started before is still at work; wait for its end, or stop it"
            ) from error
        yield file.fileno()


@contextmanager
def _nowhere() -> Iterator[None]:
    """In place of a file for what a command prints: it prints where this process does."""
    yield None


def _write(file: Path, content: dict[str, Any]) -> None:
    new = file.with_suffix(".new")
    new.write_text(json.dumps(content, indent=1), encoding="utf-8")
    os.replace(new, file)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
