"""`sonopsis` as the child of a program, which ends when that program ends, however it does.

    python -m sonopsis.study.leash FD train CONFIG ...

FD is the end for reading of a pipe whose other end only the program holds. The system closes that end when the program
dies, also by SIGKILL, and this process then sends itself SIGTERM, at which a training saves a checkpoint and ends.
(The signal that Linux can send at the death of a parent follows the thread that started the child, and other systems
have none.)
"""

import os
import runpy
import signal
import sys
import threading


def main() -> None:
    """Run the command line behind FD."""
    end = int(sys.argv.pop(1))
    threading.Thread(target=_watch, args=(end,), daemon=True).start()
    runpy.run_module("sonopsis", run_name="__main__")


def _watch(end: int) -> None:
    """Wait for the end of a pipe into which nothing is written."""
    os.read(end, 1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
