"""The log of a run: a JSON object for each line, in a file and on standard error; on a terminal a progress bar too."""

import json
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

LOG = "log.jsonl"


class Log:
    """A run's log, open while it trains."""

    def __init__(self, output: Path, first: int, steps: int, *, silent: bool = False) -> None:
        """Steps before `first` are done. Of several processes all but one are silent.

        The bar is drawn where standard error is a terminal, below the lines.
        """
        self.path, self._silent = output / LOG, silent
        columns = (BarColumn(), MofNCompleteColumn(), "steps", TimeRemainingColumn())
        self._bar = Progress(
            *columns,
            console=Console(stderr=True),
            transient=True,
            redirect_stdout=False,
            disable=silent or not sys.stderr.isatty(),
        )
        self._task = self._bar.add_task("", total=steps, completed=first)

    def __enter__(self) -> "Log":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def advance(self) -> None:
        """One step is done."""
        self._bar.advance(self._task)

    def write(self, record: dict[str, Any]) -> None:
        """One line."""
        if self._silent:
            return
        line = json.dumps(record)
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
