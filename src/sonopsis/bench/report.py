"""Measurements -> rows of figures, a table, and the causes of each speed-up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sonopsis.bench.timing import Measured

Row = dict[str, Any]

SHORT = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16", "int8": "int8"}  # precisions in names of variants


@dataclass(frozen=True)
class Report:
    """What `sonopsis bench ... --json` prints: ratio = time of the baseline / time of the row."""

    machine: dict[str, Any]
    rows: list[Row]
    baseline: str

    @property
    def comparable(self) -> bool:
        """Whether the rows do the same work. Rows without a precision are whole commands, which do not."""
        return all(row["precision"] for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"machine": self.machine, "rows": self.rows, "baseline": self.baseline}


def make_report(machine: dict[str, Any], measured: Sequence[Measured], baseline: str) -> Report:
    """A row for each variant; raises ValueError when none has the baseline's name."""
    medians = {m.variant.name: m.quantile(0.5) for m in measured}
    if baseline not in medians:
        raise ValueError(f"the baseline {baseline!r} was not measured; choose one of {list(medians)}")
    return Report(machine, [_row(m, baseline, medians[baseline]) for m in measured], baseline)


def joined(reports: Sequence[Report]) -> Report:
    """Several reports of one machine as one, with the baseline of the first; each row names its own baseline."""
    return Report(reports[0].machine, [row for report in reports for row in report.rows], reports[0].baseline)


def _row(measured: Measured, baseline: str, baseline_ms: float) -> Row:
    variant, median = measured.variant, measured.quantile(0.5)
    peak, idle = measured.peak_mib, measured.idle_mib
    return {
        "name": variant.name,
        "engine": variant.engine,
        "precision": variant.precision,
        "keep_rate": variant.keep_rate,
        "median_ms": round(median, 3),
        "p10_ms": round(measured.quantile(0.1), 3),
        "p90_ms": round(measured.quantile(0.9), 3),
        "peak_mib": None if peak is None else round(peak, 1),
        "above_idle_mib": None if peak is None or idle is None else round(peak - idle, 1),
        "ratio": baseline_ms / median,
        "baseline": baseline,
        "rounds": len(measured.seconds),
        **variant.extra,
    }


@dataclass(frozen=True)
class Split:
    """A row's ratio as the product of its causes. A cause is None if it does not apply or if no row shows it."""

    name: str  # of the engine
    engine: float | None  # baseline -> this engine, same precision, nothing pruned
    precision: float | None  # float32 -> the row's precision, nothing pruned
    pruning: float | None  # nothing pruned -> the row's keep rate
    efficiency: float | None  # share of time saved by pruning / share of executed MACs saved

    def __str__(self) -> str:
        parts = {self.name: self.engine, "pruning": self.pruning, "precision": self.precision}
        shown = [f"{value:.2f} ({name})" for name, value in parts.items() if value is not None]
        return " × ".join(shown)


def split(report: Report, row: Row) -> Split:
    """The causes of the row's speed-up over the baseline.

    They are found by comparing it with rows of the same engine and the same `method`, an extra column that says which
    code ran. If a method prunes and otherwise runs the code of another one, the extra column `unpruned` names that one.
    A row whose `work` (also an extra column) is not that of the baseline has no causes.
    """
    base = next(other for other in report.rows if other["name"] == report.baseline)
    if row.get("work") != base.get("work"):
        return Split(row["engine"], None, None, None, None)
    whole = row if row["keep_rate"] in (None, 1) else _relative(report.rows, row, row["precision"])
    exact = _relative(report.rows, row, base["precision"])
    pruning = efficiency = precision = engine = None
    if whole is not None and whole is not row:
        pruning = whole["median_ms"] / row["median_ms"]
        efficiency = _efficiency(whole, row)
    if whole is not None and exact is not None and exact is not whole:
        precision = exact["median_ms"] / whole["median_ms"]
    if exact is not None and exact is not base:
        engine = base["median_ms"] / exact["median_ms"]
    return Split(row["engine"], engine, precision, pruning, efficiency)


def _relative(rows: Sequence[Row], row: Row, precision: str) -> Row | None:
    """The row of the same code and engine that prunes nothing, at a precision."""
    methods = {row.get("method"), row.get("unpruned", row.get("method"))}
    for other in rows:
        same = other["engine"] == row["engine"] and other.get("method") in methods
        if same and other["precision"] == precision and other["keep_rate"] in (None, 1):
            return other
    return None


def _efficiency(whole: Row, row: Row) -> float | None:
    if not whole.get("macs_g") or not row.get("macs_g") or row["macs_g"] >= whole["macs_g"]:
        return None
    return (1 - row["median_ms"] / whole["median_ms"]) / (1 - row["macs_g"] / whole["macs_g"])


# A column of a table: its heading, and how a row fills it.
COLUMNS = {
    "name": "variant",
    "precision": "precision",
    "keep_rate": "keep",
    "median_ms": "ms",
    "p10_ms": "p10",
    "p90_ms": "p90",
    "ratio": "× baseline",
    "split": "of which",
    "macs_g": "G MACs",
    "efficiency": "efficiency",
    "peak_mib": "peak MiB",
    "above_idle_mib": "above idle",
    "torch": "imports torch",
}
COMPARISONS = ("ratio", "split", "efficiency")


def table(report: Report, extra: Mapping[str, str] | None = None) -> tuple[list[str], list[list[str]]]:
    """Headings and cells; columns that no row fills are left out. `extra` names further columns of the rows."""
    rows = []
    for row in report.rows:
        parts = split(report, row)
        rows.append({**row, "split": str(parts), "efficiency": parts.efficiency})
    columns = {**COLUMNS, **(extra or {})}
    if not report.comparable:
        columns = {key: heading for key, heading in columns.items() if key not in COMPARISONS}
    columns = _filled(columns, rows)
    return list(columns.values()), [[_cell(key, row.get(key)) for key in columns] for row in rows]


def _filled(columns: Mapping[str, str], rows: Sequence[Row]) -> dict[str, str]:
    """The columns that at least one row fills."""
    return {key: heading for key, heading in columns.items() if any(row.get(key) not in (None, "") for row in rows)}


def _cell(key: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        digits = 2 if key in ("ratio", "efficiency") or abs(value) < 10 else 1 if abs(value) < 100 else 0
        return f"{value:g}" if key == "keep_rate" else f"{value:.{digits}f}"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def markdown(report: Report, extra: Mapping[str, str] | None = None) -> str:
    """The table in Markdown, figures to the right; arguments as those of `table`."""
    headings, rows = table(report, extra)
    numeric = [all(_is_number(row[column]) for row in rows) for column in range(len(headings))]
    lines = [headings, ["---:" if number else "---" for number in numeric], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _is_number(cell: str) -> bool:
    return not cell or cell.replace(".", "", 1).replace("-", "", 1).isdigit()


def show(report: Report, extra: Mapping[str, str] | None = None) -> None:
    """Print the figures for people, then a line for each speed-up with its causes.

    Columns that no row fills are left out. `extra` names further columns of the rows.
    """
    from rich.console import Console
    from rich.table import Table

    drawn = Table("variant", title=f"baseline: {report.baseline}", title_justify="left")
    columns = _filled({"ratio": "× base", "macs_g": "G MACs", "peak_mib": "MiB", **(extra or {})}, report.rows)
    for heading in ("ms", "p10 to p90", *columns.values()):
        drawn.add_column(heading, justify="right", no_wrap=True)
    for row in report.rows:
        spread = " - ".join(_cell(key, row[key]) for key in ("p10_ms", "p90_ms"))
        figures = (_cell(key, row.get(key)) for key in columns)
        drawn.add_row(row["name"], _cell("median_ms", row["median_ms"]), spread, *figures)
    console = Console(highlight=False)
    console.print(drawn)
    for row in report.rows if report.comparable else ():
        parts = split(report, row)
        if str(parts):
            saving = "" if parts.efficiency is None else f"; time saved / MACs saved {parts.efficiency:.2f}"
            console.print(f"{row['name']}: {row['ratio']:.2f} = {parts}{saving}", markup=False, soft_wrap=True)
