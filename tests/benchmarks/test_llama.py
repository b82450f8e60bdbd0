"""llama.cpp beside ours: which variants there are, the file that is written for it, and the ratios."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import torch

import llama
from sonopsis.bench.lm import Work
from sonopsis.installed import installed
from sonopsis.mamba2 import Mamba2Config, Mamba2LM

Script = Callable[..., CompletedProcess[str]]
TINY = Mamba2Config(32, 2, 64, state=16, head_dim=16)
PRECISIONS = ["float32", "bfloat16", "int8"]


def engines(work: Work, peers: bool) -> list[tuple[str, str]]:
    return [(v.engine, v.precision) for v in llama.variants(Path("model"), work, PRECISIONS, peers, 1)]


def test_llama_comes_between_transformers_and_ours() -> None:
    step = engines(Work("decode", 1, 1), peers=True)
    assert step[:2] == [("transformers", "float32"), ("transformers", "bfloat16")]
    assert step[2:5] == [("llama.cpp", precision) for precision in PRECISIONS]
    assert step[5] == ("torch", "float32")
    assert engines(Work("decode", 1, 1), peers=False) == step[2:]


@pytest.mark.parametrize("work", [Work("prefill", 1, 8), Work("decode", 2, 1)])
def test_eight_bits_are_left_out_where_they_crash(work: Work) -> None:
    assert ("llama.cpp", "int8") not in engines(work, peers=False)


def test_ratios_compare_rows_of_one_precision() -> None:
    rows = [
        {"engine": "llama.cpp", "precision": "int8", "median_ms": 8.0},
        {"engine": "torch", "precision": "int8", "median_ms": 4.0},
        {"engine": "torch", "precision": "float32", "median_ms": 4.0},
    ]
    llama.add_ratios(rows)
    assert [row.get("over_llama") for row in rows] == [1, 2, None]


def test_the_file_for_llama_holds_every_weight(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    torch.manual_seed(0)
    lm = Mamba2LM(TINY)
    llama.write_gguf(lm, tmp_path / "lm.gguf", "F32")
    tensors = {tensor.name: tensor.data for tensor in gguf.GGUFReader(str(tmp_path / "lm.gguf")).tensors}
    assert sum(values.size for values in tensors.values()) == sum(p.numel() for p in lm.parameters())
    mixer = lm.backbone.layers[1].mixer
    torch.testing.assert_close(torch.from_numpy(tensors["blk.1.ssm_in.weight"].copy()), mixer.in_proj.weight.data)


@pytest.mark.skipif(installed("llama_cpp"), reason="llama.cpp is installed")
def test_without_llama_the_script_says_what_to_install(script: Script) -> None:
    assert "pip install -r benchmarks/requirements.txt" in script("llama", status=1).stderr


def test_what_cannot_be_loaded_is_left_out_and_ours_is_measured(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("gguf", "llama_cpp"):
        (tmp_path / f"{package}.py").write_text("raise ImportError('a broken build')")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    few = ("--model", "default", "--batch", 1, "--precision", "int8", "--rounds", 1, "--threads", 1)
    done = script("llama", *few, "--json")
    assert "left out: llama.cpp Q8_0, decode batch 1: ImportError: a broken build" in done.stderr
    (row,) = json.loads(done.stdout)["rows"]
    assert row["name"] == "sonopsis int8, decode batch 1" and row["over_floor"] > 0


@pytest.mark.slow
def test_the_table_has_ratios_to_llama(script: Script) -> None:
    pytest.importorskip("llama_cpp")
    pytest.importorskip("gguf")
    few = ("--model", "default", "--batch", 1, "--precision", "float32", "--rounds", 1, "--threads", 1)
    heading, _, *rows = script("llama", *few, "--markdown").stdout.splitlines()[2:]
    assert "| tokens/s | × llama.cpp | × floor |" in heading
    assert rows[0].startswith("| llama.cpp F32, decode batch 1 |") and rows[1].startswith("| sonopsis fp32, ")
