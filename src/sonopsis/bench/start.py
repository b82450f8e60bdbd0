"""The variants of `sonopsis bench start`: how long a command takes before and beside its computation.

Whole commands in new processes, from the call to the end, with files that the system has read before. Python keeps the
compiled code of modules, as in an installed package, whatever the environment says.
"""

import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from sonopsis.bench.child import Elsewhere
from sonopsis.bench.timing import Variant, environment
from sonopsis.folder import describe
from sonopsis.hub import locate

PASS = [sys.executable, "-c", "pass"]
SONOPSIS = [sys.executable, "-m", "sonopsis"]
# Runs the command and tells, in the last line of standard error, whether it imported torch and the memory it held. (A
# process inherits its parent's peak in what the system tells when it ends.)
WATCHED = """
import runpy, sys
try:
    runpy.run_module("sonopsis", run_name="__main__")
finally:
    from sonopsis.bench.machine import peak_mib
    print("torch" in sys.modules, peak_mib(), file=sys.stderr)
"""


def variants(model: str, clip: Path, engines: Sequence[str]) -> list[Variant]:
    """`python -c pass`, which is the baseline, the help text, and one clip tagged and captioned on each engine."""
    verbs = ["tag"] if describe(locate(model)).config.lm is None else ["tag", "caption"]
    found = [Variant("python -c pass", "python", "", None, partial(command, PASS))]
    found.append(_variant("sonopsis --help", "python", ["--help"]))
    for engine in engines:
        for verb in verbs:
            arguments = [verb, str(clip), "--model", model, "--engine", engine]
            found.append(_variant(f"sonopsis {verb} {clip.name}, {engine}", engine, arguments))
    return found


def _variant(name: str, engine: str, arguments: list[str]) -> Variant:
    torch, peak = watch(arguments)
    return Variant(name, engine, "", None, partial(command, [*SONOPSIS, *arguments], peak), {"torch": torch})


def command(line: Sequence[str], peak_mib: float | None = None) -> Callable[[], Elsewhere]:
    """The call that runs a command in a process of its own; raises ValueError when the command fails."""

    def run() -> Elsewhere:
        done = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, env=_environment(), check=False)
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()[-300:]
            raise ValueError(f"it ended with status {done.returncode}: {said}")
        return Elsewhere(peak_mib)

    return run


def watch(arguments: Sequence[str]) -> tuple[bool | None, float | None]:
    """Whether a `sonopsis` command imports torch, and the most it holds in MiB; None when it fails."""
    line = [sys.executable, "-c", WATCHED, *arguments]
    done = subprocess.run(line, capture_output=True, text=True, env=_environment(), check=False)
    if done.returncode:
        return None, None
    torch, peak = done.stderr.splitlines()[-1].split()
    return torch == "True", None if peak == "None" else float(peak)


def _environment() -> dict[str, str]:
    return {name: value for name, value in environment().items() if name != "PYTHONDONTWRITEBYTECODE"}
