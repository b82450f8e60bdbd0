"""Rows, ratios, the split of a speed-up, and the table."""

import json
from math import prod
from typing import Any

import pytest

from sonopsis.bench.report import Report, make_report, markdown, split
from sonopsis.bench.timing import Measured, Variant

KEYS = ["name", "engine", "precision", "keep_rate", "median_ms", "p10_ms", "p90_ms", "peak_mib", "ratio"]


def measured(name: str, engine: str, precision: str, keep: float | None, ms: float, **extra: Any) -> Measured:
    variant = Variant(name, engine, precision, keep, lambda: lambda: None, extra)
    return Measured(variant, tuple(ms / 1e3 * f for f in (0.9, 1.0, 1.0, 1.0, 1.3)), peak_mib=300.0, idle_mib=260.0)


@pytest.fixture
def report() -> Report:
    own, peer = {"method": "sonopsis"}, {"method": "transformers"}
    rows = [
        measured("AST", "transformers", "float32", None, 1000, **peer, macs_g=48.0),
        measured("AST bf16", "transformers", "bfloat16", None, 400, **peer, macs_g=48.0),
        measured("ours 1", "torch", "float32", 1.0, 800, **own, macs_g=45.0),
        measured("ours 0.7", "torch", "float32", 0.7, 500, **own, macs_g=30.0),
        measured("ov 1", "openvino", "float32", 1.0, 500, **own, macs_g=45.0),
        measured("ov 1 bf16", "openvino", "bfloat16", 1.0, 200, **own, macs_g=45.0),
        measured("ov 0.7 bf16", "openvino", "bfloat16", 0.7, 125, **own, macs_g=30.0),
        measured("merge 0.7", "torch", "float32", 0.7, 640, method="merge", unpruned="sonopsis", macs_g=30.0),
    ]
    return make_report({"cpu": "a"}, rows, "AST")


def row(report: Report, name: str) -> dict[str, Any]:
    return next(row for row in report.rows if row["name"] == name)


def test_rows_have_the_keys_that_programs_read(report: Report) -> None:
    found = json.loads(json.dumps(report.to_dict()))
    assert found.keys() == {"machine", "rows", "baseline"}
    for values in found["rows"]:
        assert list(values)[: len(KEYS) - 1] == KEYS[:-1] and "ratio" in values
        assert values["ratio"] == pytest.approx(1000 / values["median_ms"])
        assert values["p10_ms"] < values["median_ms"] < values["p90_ms"]
        assert values["above_idle_mib"] == 40


def test_a_ratio_is_the_product_of_its_causes(report: Report) -> None:
    for values in report.rows:
        parts = split(report, values)
        factors = [factor for factor in (parts.engine, parts.precision, parts.pruning) if factor is not None]
        assert prod(factors) == pytest.approx(values["ratio"])


def test_causes(report: Report) -> None:
    assert str(split(report, row(report, "AST"))) == ""
    assert str(split(report, row(report, "AST bf16"))) == "2.50 (precision)"
    assert str(split(report, row(report, "ours 1"))) == "1.25 (torch)"
    assert str(split(report, row(report, "ov 0.7 bf16"))) == "2.00 (openvino) × 1.60 (pruning) × 2.50 (precision)"
    assert str(split(report, row(report, "merge 0.7"))) == "1.25 (torch) × 1.25 (pruning)"


def test_a_cause_that_no_row_shows_is_not_guessed(report: Report) -> None:
    lone = Report({}, [row(report, "AST"), row(report, "ov 0.7 bf16")], "AST")
    assert str(split(lone, lone.rows[1])) == ""


def test_other_work_than_the_baseline_has_no_causes() -> None:
    rows = [measured(name, "torch", "float32", None, 10, work=name) for name in ("64 tokens", "512 tokens")]
    found = make_report({}, rows, "64 tokens")
    assert found.rows[1]["ratio"] == 1 and str(split(found, found.rows[1])) == ""


def test_efficiency_is_time_saved_over_macs_saved(report: Report) -> None:
    efficiency = split(report, row(report, "ours 0.7")).efficiency
    assert efficiency == pytest.approx((1 - 500 / 800) / (1 - 30 / 45))
    assert split(report, row(report, "ours 1")).efficiency is None


def test_a_baseline_that_was_not_measured(report: Report) -> None:
    with pytest.raises(ValueError, match="'other' was not measured"):
        make_report({}, [measured("a", "torch", "float32", 1.0, 1)], "other")


def test_markdown() -> None:
    rows = [measured("AST", "transformers", "float32", None, 1000), measured("ours", "torch", "float32", 1.0, 80)]
    assert markdown(make_report({}, rows, "AST")) == (
        "| variant | precision | keep | ms | p10 | p90 | × baseline | of which | peak MiB | above idle |\n"
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | --- | ---: | ---: |\n"
        "| AST | float32 |  | 1000 | 940 | 1180 | 1.00 |  | 300 | 40.0 |\n"
        "| ours | float32 | 1 | 80.0 | 75.2 | 94.4 | 12.50 | 12.50 (torch) | 300 | 40.0 |\n"
    )


def test_further_columns() -> None:
    report = make_report({}, [measured("a", "torch", "float32", None, 5, tokens=[512, 359])], "a")
    assert "| 512, 359 |" in markdown(report, {"tokens": "tokens"})
