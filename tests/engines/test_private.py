"""Engines report nothing of their use, and leave no identifier in the home folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPORTS = "ORT_DISABLE_TELEMETRY"


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_no_identifier_of_the_machine_is_made(answering_model: Path, sounds: Path, tmp_path: Path, engine: str) -> None:
    """Both would write one at their import, under which they report to their makers."""
    pytest.importorskip({"onnx": "onnxruntime"}.get(engine, engine))
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "SONOPSIS_"))}
    environment.pop(REPORTS, None)
    environment["HOME"] = str(tmp_path)
    line = [sys.executable, "-m", "sonopsis", "tag", str(sounds / "noise.wav"), "--model", str(answering_model)]
    done = subprocess.run([*line, "--engine", engine], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.rglob("*")) == []
