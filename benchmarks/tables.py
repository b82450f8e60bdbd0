"""Measure again what a page of the documentation tells, and write it there.

    python benchmarks/tables.py docs/bench.md [--only start]

A table stands between two comments, the first of which holds its command: `sonopsis bench ...` or a script,
`python benchmarks/NAME.py ...`. Everything between the comments is replaced by the command and what it prints with
--markdown, a line on the machine and the table:

    <!-- bench: sonopsis bench start --rounds 15 -->
    <!-- end -->

Nothing else should run on the machine meanwhile. All of docs/bench.md takes about half an hour on two cores.
"""

import argparse
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]  # commands name scripts from here
COMMAND = r"(?P<command>(?:sonopsis bench|python benchmarks/)[^\n]*?)"
BLOCK = re.compile(rf"(?P<begin><!-- bench: {COMMAND} -->\n).*?(?P<end><!-- end -->)", re.DOTALL)


def rewrite(page: str, only: str | None = None) -> str:
    """The page with its tables measured again, or those whose command contains `only`."""

    def measured(block: re.Match[str]) -> str:
        command = block["command"]
        if only is not None and only not in command:
            return block[0]
        return f"{block['begin']}{table(command)}{block['end']}"

    return BLOCK.sub(measured, page)


def table(command: str) -> str:
    """What a command prints: the machine, and its table."""
    print(command, file=sys.stderr)
    program, *arguments = shlex.split(command)
    line = [sys.executable, *(["-m", program] if program == "sonopsis" else []), *arguments, "--markdown"]
    done = subprocess.run(line, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    machine, _, figures = done.stdout.partition("\n\n")
    return f"\n`{command}`: {machine}.\n\n{figures}\n"


def main() -> None:
    """Rewrite the pages named on the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pages", nargs="+", type=Path)
    parser.add_argument("--only", help="only the tables whose command contains this")
    arguments = parser.parse_args()
    for path in arguments.pages:
        path.write_text(rewrite(path.read_text(encoding="utf-8"), arguments.only), encoding="utf-8")


if __name__ == "__main__":
    main()
