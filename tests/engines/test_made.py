"""Graphs that are made for a model without any: once, again when the model changes, and with torch's numbers."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import sonopsis
from sonopsis.graphs.names import TAG


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_graphs_are_made_once_and_again_for_a_changed_model(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    pytest.importorskip({"onnx": "onnxruntime"}.get(engine, engine))
    monkeypatch.setenv("SONOPSIS_DATA", str(tmp_path / "cache"))
    folder = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    mel = np.random.default_rng(0).standard_normal((1, 256, 128)).astype(np.float32)
    expected = sonopsis.load(folder, engine="torch").logits(mel, keep_rate=0.5)
    for _ in range(2):
        found = sonopsis.load(folder, engine=engine)
        assert found.name == "model" and found.engine.name == engine
        np.testing.assert_allclose(found.logits(mel, keep_rate=0.5), expected, atol=1e-5)
    (made,) = (tmp_path / "cache" / "graphs").iterdir()  # nothing half-made is left
    before = (made / TAG).stat().st_mtime_ns
    sonopsis.load(folder, engine=engine).logits(mel)
    assert (made / TAG).stat().st_mtime_ns == before
    os.utime(folder / "model.safetensors", ns=(1, 1))
    sonopsis.load(folder, engine=engine)
    assert len(list((tmp_path / "cache" / "graphs").iterdir())) == 2
