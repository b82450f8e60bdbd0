"""Whether tags and captions of examples/ are, byte for byte, what another commit gives on this machine.

    python scripts/same_output.py c906bc4

Both commits run in this Python environment: the other one from a worktree of its own, made for the purpose. Numbers of
floating point differ in their last digits between processors, so that a stored copy would not do.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VERBS = ("tag", "caption")
ENGINES = ("auto", "onnx", "openvino", "torch")


def outputs(source: Path) -> dict[str, bytes]:
    """What each verb prints on each engine, computed by the package in `source`."""
    examples = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "examples").iterdir())
    found = {}
    for verb in VERBS:
        for engine in ENGINES:
            command = [sys.executable, "-m", "sonopsis", verb, *examples, "--format", "json", "--engine", engine]
            environment = {**os.environ, "PYTHONPATH": str(source / "src")}
            run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True)
            found[f"{verb} --engine {engine}"] = run.stdout
    return found


def main() -> int:
    """Print one line for each verb and engine; 1 if any differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit", help="the commit to compare with")
    commit = parser.parse_args().commit
    with tempfile.TemporaryDirectory() as scratch:
        other = Path(scratch) / "other"
        subprocess.run(["git", "worktree", "add", "--detach", str(other), commit], cwd=ROOT, check=True)
        try:
            before, now = outputs(other), outputs(ROOT)
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(other)], cwd=ROOT, check=True)
    different = [name for name in now if now[name] != before[name]]
    for name in now:
        print(f"{name}: {'different' if name in different else 'the same'}")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
