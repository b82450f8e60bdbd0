"""`sonopsis bench`, with real processes and a tiny model."""

import json
from pathlib import Path

import pytest
from click.testing import Result

from sonopsis.processor import Processor

KEYS = {"name", "engine", "precision", "keep_rate", "median_ms", "p10_ms", "p90_ms", "peak_mib", "ratio", "baseline"}


def checked(result: Result) -> dict[str, object]:
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found.keys() == {"machine", "rows", "baseline"}
    baseline = next(row for row in found["rows"] if row["name"] == found["baseline"])
    for row in found["rows"]:
        assert row.keys() >= KEYS
        assert row["baseline"] == found["baseline"]
        assert row["ratio"] == pytest.approx(baseline["median_ms"] / row["median_ms"], rel=0.01)
    assert {"cpu", "cores", "threads", "python", "versions", "load"} <= found["machine"].keys()
    return found


def test_encoder(sonopsis, tiny_model: Path) -> None:  # type: ignore[no-untyped-def]
    torch = ("--engine", "torch", "--precision", "float32", "--keep-rate", 0.7, "--rounds", 3, "--batch", 2)
    found = checked(sonopsis("bench", "encoder", "--model", tiny_model, "--peers", *torch, "--threads", 1, "--json"))
    assert found["baseline"] == "published way fp32, keep 0.7"
    assert found["machine"]["threads"] == "1"  # type: ignore[index]
    _, ours = found["rows"]  # type: ignore[misc]
    assert ours["name"] == "sonopsis torch fp32, keep 0.7"
    assert ours["keep_rate"] == 0.7 and ours["rounds"] == 3 and ours["macs_g"] > 0 and len(ours["tokens"]) == 4


def test_a_precision_without_hardware_is_left_out(  # type: ignore[no-untyped-def]
    sonopsis, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row of that name would be computed in float32."""
    laptop = Processor("a laptop", "AuthenticAMD", frozenset({"avx2"}))
    monkeypatch.setattr("sonopsis.processor.processor", lambda: laptop)
    few = ("--engine", "torch", "--keep-rate", 0.7, "--rounds", 1, "--precision", "float32", "--precision", "bfloat16")
    result = sonopsis("bench", "encoder", "--model", tiny_model, *few, "--json")
    assert [row["precision"] for row in checked(result)["rows"]] == ["float32"]  # type: ignore[index,attr-defined]
    assert "precision bfloat16 is left out: this processor has no instructions for it" in result.stderr


def test_pipeline(sonopsis, tiny_model: Path) -> None:  # type: ignore[no-untyped-def]
    few = ("--clips", 8, "--at-once", 4, "--engine", "torch", "--precision", "float32", "--keep-rate", 0.7)
    found = checked(sonopsis("bench", "pipeline", "--model", tiny_model, *few, "--json"))
    (row,) = found["rows"]  # type: ignore[misc]
    assert row["name"] == found["baseline"] == "sonopsis tag, torch fp32, keep 0.7" and row["rounds"] == 2


@pytest.mark.slow
def test_start(sonopsis, tiny_model: Path) -> None:  # type: ignore[no-untyped-def]
    found = checked(sonopsis("bench", "start", "--model", tiny_model, "--engine", "torch", "--rounds", 1, "--json"))
    rows = {row["name"]: row for row in found["rows"]}  # type: ignore[attr-defined]
    told = [f"sonopsis {verb} clip0000.wav, torch" for verb in ("tag", "caption")]
    assert list(rows) == ["python -c pass", "sonopsis --help", *told]
    assert rows["sonopsis --help"]["torch"] is False and all(rows[name]["torch"] is True for name in told)


def test_lm(sonopsis, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("os.getloadavg", lambda: (9.0, 9.0, 9.0))
    few = ("--length", 5, "--batch", 2, "--precision", "int8", "--rounds", 1, "--threads", 1)
    result = sonopsis("bench", "lm", "--model", "default", *few, "--json")
    found = json.loads(result.stdout)
    rows = [row for row in found["rows"] if row["engine"] == "torch"]
    assert [row["name"] for row in rows] == ["sonopsis int8, prefill 5", "sonopsis int8, decode batch 2"]
    assert all(row["baseline"] == row["name"] and row["ratio"] == 1 for row in rows)  # each piece of work has its own
    assert all(row["tokens_per_s"] > 0 for row in rows) and rows[1]["over_floor"] > 0
    assert found["machine"]["read_gb_per_s"] > 0 and result.stderr.count("warning: load average 9.0") == 1


def test_the_machine_is_told_once_for_all_tables(sonopsis) -> None:  # type: ignore[no-untyped-def]
    pytest.importorskip("transformers")
    few = ("--length", 5, "--batch", 2, "--precision", "int8", "--rounds", 1, "--threads", 1, "--peers")
    result = sonopsis("bench", "lm", "--model", "default", *few)
    machine, *tables = result.stdout.splitlines()
    assert "cores" in machine and machine.endswith(" GB/s") and "GB/s" not in "".join(tables)
    assert [line.rstrip() for line in tables if line.startswith("baseline: ")] == [
        "baseline: transformers fp32, prefill 5",
        "baseline: transformers fp32, decode batch 2",
    ]


@pytest.mark.parametrize("shape", ["--markdown", None])
def test_tables_tell_the_machine(sonopsis, tiny_model: Path, shape: str | None) -> None:  # type: ignore[no-untyped-def]
    few = ("--engine", "torch", "--precision", "float32", "--keep-rate", 0.7, "--rounds", 1)
    result = sonopsis("bench", "encoder", "--model", tiny_model, *few, *([shape] if shape else []))
    machine, following, heading = result.stdout.splitlines()[:3]
    assert "Python" in machine and "cores" in machine
    if shape:
        assert not following and heading.startswith("| variant | precision | keep | ms |")
    else:
        assert following.startswith("baseline: sonopsis torch fp32, keep 0.7")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["encoder", "--engine", "abacus"], "choose from torch, openvino, onnx"),
        (["encoder", "--precision", "float8"], "choose from float32, bfloat16, int8"),
        (["pipeline", "--clips", "10", "--at-once", "4"], "not a multiple of 4"),
    ],
)
def test_bad_options(sonopsis, arguments: list[str], message: str) -> None:  # type: ignore[no-untyped-def]
    result = sonopsis("bench", *arguments)
    assert result.exit_code == 2 and message in " ".join(result.stderr.replace("│", " ").split())


def test_a_model_that_is_not_there(sonopsis) -> None:  # type: ignore[no-untyped-def]
    result = sonopsis("bench", "encoder", "--model", "nowhere")
    assert result.exit_code == 1 and "no such model folder" in result.stderr


def test_a_clip_longer_than_a_model_hears(sonopsis, tiny_model: Path) -> None:  # type: ignore[no-untyped-def]
    result = sonopsis("bench", "encoder", "--model", tiny_model, "--engine", "torch", "--seconds", 3)
    assert result.exit_code == 1 and "hears 2.56 s at once; choose at most 2.56 seconds" in result.stderr
