"""What a sweep has found so far: one row for each configuration, as text, JSON values, CSV, and a page with plots."""

import csv
import io
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from sonopsis.study.sweep import failure, point_of, void
from sonopsis.study.sweepfile import Choices, Sweep

STATES = {
    TrialState.COMPLETE: "finished",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
    TrialState.FAIL: "failed",
}
ORDER = ("finished", "running", "waiting", "failed")
LONGEST_ERROR = 90  # characters in a text table
Row = dict[str, Any]


def summary(sweep: Sweep, study: optuna.Study) -> dict[str, Any]:
    """A sweep's state as JSON values: what it is, and its rows, the best first."""
    trials = [trial for trial in study.get_trials(deepcopy=False) if not void(trial)]
    latest: dict[str, FrozenTrial] = {}
    for trial in trials:  # a trial that was stopped, or tried once more, has a later one of the same point
        if trial.state != TrialState.FAIL or failure(trial) is not None:
            latest[repr(sorted(point_of(trial).items(), key=str))] = trial
    rows = [_row(sweep, trial) for trial in latest.values()]
    sign = -1 if sweep.direction == "maximize" else 1

    def rank(row: Row) -> tuple[int, float, int]:
        value = row[sweep.objective]
        return ORDER.index(row["state"]), 0.0 if value is None else sign * value, row["trial"]

    return {
        "study": "sweep",
        "sweep": sweep.name,
        "base": str(sweep.base),
        "objective": sweep.objective,
        "direction": sweep.direction,
        "sampler": sweep.sampler,
        "seeds": sweep.seeds,
        "trials": sweep.trials,
        "axes": list(sweep.axes),
        "states": {state: sum(row["state"] == state for row in rows) for state in ORDER},
        "rows": sorted(rows, key=rank),
    }


def _row(sweep: Sweep, trial: FrozenTrial) -> Row:
    """A trial: means over the seeds that have ended, and the deviation of the objective between them."""
    runs = trial.user_attrs.get("runs", [])
    values = [run["metrics"][sweep.objective] for run in runs]
    point = point_of(trial)
    return {
        "trial": trial.number,
        "state": STATES[trial.state],
        "point": {name: point.get(name) for name in sweep.axes},
        "run": sweep.run_name(point) if point.keys() == sweep.axes.keys() else None,
        "seeds": len(runs),
        sweep.objective: statistics.fmean(values) if values else None,
        "deviation": statistics.stdev(values) if len(values) > 1 else None,
        "metrics": {
            name: statistics.fmean(run["metrics"][name] for run in runs)
            for name in (runs[0]["metrics"] if runs else ())
            if name != sweep.objective
        },
        "trainable": runs[0]["trainable"] if runs else None,
        "parameters": runs[0]["parameters"] if runs else None,
        "seconds": statistics.fmean(run["seconds"] for run in runs) if runs else None,
        "error": failure(trial),
    }


def columns(found: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The names and the cells of a table of all rows."""
    metrics = list(dict.fromkeys(name for row in found["rows"] for name in row["metrics"]))
    size = ("trainable", "parameters", "seconds", "error")
    names = [*found["axes"], "state", "seeds", found["objective"], "deviation", *metrics, *size]
    cells = [[_cell(_value(row, name)) for name in names] for row in found["rows"]]
    return names, cells


def _value(row: Row, name: str) -> Any:
    for place in (row["point"], row, row["metrics"]):
        if name in place:
            return place[name]
    return None


def text(found: Mapping[str, Any]) -> str:
    """The table for a terminal; columns without any value are left out."""
    names, cells = columns(found)
    shown = [i for i in range(len(names)) if any(row[i] for row in cells) and names[i] != "parameters"]
    short = [[row[i][:LONGEST_ERROR] for i in shown] for row in cells]
    widths = [max(len(line[i]) for line in ([names[n] for n in shown], *short)) for i in range(len(shown))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in ([names[n] for n in shown], *short)
    ]
    states = ", ".join(f"{count} {state}" for state, count in found["states"].items() if count)
    return "\n".join([f"{found['sweep']}: {states or 'nothing has begun'}", *(lines if short else [])])


def as_csv(found: Mapping[str, Any]) -> str:
    """The table as comma-separated values, every column of it."""
    names, cells = columns(found)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(cells)
    return stream.getvalue()


def effects(sweep: Sweep, rows: Sequence[Row]) -> dict[str, list[tuple[str | float, list[float]]]]:
    """For each axis: each of its places and the objective of all finished rows there."""
    finished = [row for row in rows if row["state"] == "finished"]
    found = {}
    for name, axis in sweep.axes.items():
        places = list(axis.values) if isinstance(axis, Choices) else sorted({row["point"][name] for row in finished})
        found[name] = [
            (place, [row[sweep.objective] for row in finished if row["point"][name] == place]) for place in places
        ]
    return found


def write_table(sweep: Sweep, found: dict[str, Any], page: Path) -> None:
    """Write a page with the table and plots, and the same as .json and .csv beside it."""
    from sonopsis.study import plots
    from sonopsis.study.page import write

    page.parent.mkdir(parents=True, exist_ok=True)
    page.with_suffix(".csv").write_text(as_csv(found), encoding="utf-8")
    pictures: dict[str, str] = {}
    if found["states"]["finished"]:
        for name, places in effects(sweep, found["rows"]).items():
            log = not isinstance(axis := sweep.axes[name], Choices) and axis.log
            pictures[name] = plots.effect(f"effect-{len(pictures)}", places, (name, sweep.objective), log=log)
    names, cells = columns(found)
    write(found, page, {"pictures": pictures, "names": names, "cells": cells})


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
