"""Recordings that are broken or odd, given to the real command and the model that ships with the package."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import sonopsis

DEFAULT = Path(sonopsis.__file__).parent / "pretrained" / "default" / "model.safetensors"
pytestmark = pytest.mark.skipif(not DEFAULT.exists(), reason="this checkout has no default model")

# What cannot be heard, and a word of the reason that must be given.
BAD = {
    "missing.wav": "no such file",
    "empty.wav": "empty",
    "header_only.wav": "no audio",
    "half_a_header.wav": "not a recording",
    "text.wav": "not a recording",
    "nan.wav": "nan",
    "infinite.wav": "inf",
    "one_sample_at_384_khz.wav": "too short",
    "integers_as_floats.wav": "full scale",
}
# What is odd and can be heard: duration in seconds.
ODD = {
    "one_sample.wav": 1 / 16_000,
    "silent.wav": 1.0,
    "constant.wav": 1.0,
    "eight_channels.wav": 1.0,
    "at_384_khz.flac": 1.0,
    "at_8_khz.wav": 1.0,
    "truncated.wav": 1.0,
    "with space and ünïcode.wav": 1.0,
}


def write_recordings(folder: Path) -> None:
    rng = np.random.default_rng(0)
    second = 0.1 * rng.standard_normal(16_000)

    def write(name: str, samples: np.ndarray, rate: int = 16_000, subtype: str | None = None) -> None:
        soundfile.write(folder / name, samples, rate, subtype=subtype)

    (folder / "empty.wav").touch()
    write("header_only.wav", np.zeros(0))
    (folder / "text.wav").write_text("this is not a recording\n" * 100)
    write("nan.wav", np.where(np.arange(16_000) >= 8_000, np.nan, second), subtype="FLOAT")
    write("infinite.wav", np.full(16_000, np.inf), subtype="FLOAT")
    write("one_sample_at_384_khz.wav", np.full(1, 0.5), 384_000)
    write("integers_as_floats.wav", second * 32_768, subtype="FLOAT")
    write("one_sample.wav", np.full(1, 0.5))
    write("silent.wav", np.zeros(16_000))
    write("constant.wav", np.full(16_000, 0.25))
    write("eight_channels.wav", 0.1 * rng.standard_normal((16_000, 8)))
    write("at_384_khz.flac", 0.1 * rng.standard_normal(384_000), 384_000)
    write("at_8_khz.wav", second[:8_000], 8_000)
    write("with space and ünïcode.wav", second)
    write("truncated.wav", np.tile(second, 2))
    whole = (folder / "truncated.wav").read_bytes()
    (folder / "half_a_header.wav").write_bytes(whole[:20])
    (folder / "truncated.wav").write_bytes(whole[: 44 + 2 * 16_000])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("odd")
    write_recordings(folder)
    paths = [folder / name for pair in zip([*BAD, *BAD], [*ODD, *ODD], strict=False) for name in pair]
    command = [sys.executable, "-m", "sonopsis", "caption", *paths, "--format", "json"]
    return folder, subprocess.run(command, capture_output=True, text=True)


@pytest.fixture(scope="module")
def results(run: tuple[Path, subprocess.CompletedProcess[str]]) -> dict[str, dict[str, Any]]:
    """The JSON by file name; numbers that JSON does not have are refused."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    return {Path(entry["path"]).name: entry for entry in json.loads(run[1].stdout, parse_constant=refuse)}


def test_the_status_is_1_and_every_file_has_an_entry(
    run: tuple[Path, subprocess.CompletedProcess[str]], results: dict[str, dict[str, Any]]
) -> None:
    assert run[1].returncode == 1
    assert set(results) == {*BAD, *ODD}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_heard_has_its_reason_in_one_line(
    run: tuple[Path, subprocess.CompletedProcess[str]], results: dict[str, dict[str, Any]], name: str
) -> None:
    folder, done = run
    lines = [line for line in done.stderr.splitlines() if line.startswith(f"error: {folder / name}: ")]
    assert len(lines) == 1
    assert BAD[name] in lines[0]
    assert "internal error" not in lines[0]
    assert results[name]["windows"] == []
    assert lines[0] == f"error: {results[name]['error']}"


@pytest.mark.parametrize("name", ODD)
def test_what_is_odd_is_heard(results: dict[str, dict[str, Any]], name: str) -> None:
    entry = results[name]
    assert "error" not in entry
    assert entry["duration"] == pytest.approx(ODD[name], abs=1e-3)
    assert entry["windows"][-1]["end"] == pytest.approx(ODD[name], abs=1e-3)
    for window in entry["windows"]:
        assert window["caption"]
        heard = window["labels"] or [window["guess"]]
        assert all(0 <= label["score"] <= 1 for label in heard)


@pytest.mark.parametrize("name", ["silent.wav", "constant.wav"])
def test_silence_is_reported_as_silence(results: dict[str, dict[str, Any]], name: str) -> None:
    assert [(window["labels"][0]["label"], window["caption"]) for window in results[name]["windows"]] == [
        ("silence", "Silence.")
    ]


def test_nothing_but_errors_warnings_and_the_summary_is_said(
    run: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    *lines, summary = run[1].stderr.splitlines()
    assert all(line.startswith(("error: ", "warning: ")) for line in lines)
    assert summary == f"{len(BAD)} of {len(BAD) + len(ODD)} file(s) failed"
