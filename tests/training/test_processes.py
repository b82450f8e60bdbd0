"""Several processes: one run, shared."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

# --multi_gpu: one process for each GPU, and without GPUs as many processes on the CPU; --cpu alone would need MPI.
LAUNCH = (
    *(sys.executable, "-m", "accelerate.commands.launch"),
    *("--multi_gpu", "--num_processes=2", "--num_machines=1", "--mixed_precision=no", "--dynamo_backend=no"),
)
KEYS = {
    "steps": 8,
    "batch_size": 6,
    "save_every": 4,
    "validate_every": 4,
    "encoder": {"drop_path": 0.0},
    "pruning": {"schedule": "cosine", "keep_rate": 0.5},
}


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def run(path: Path, *launcher: str) -> subprocess.CompletedProcess[str]:
    command = [*(launcher or (sys.executable,)), "-m", "sonopsis", "train", str(path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)


def losses(output: Path) -> list[float]:
    records = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    return [record["loss"] for record in records if "loss" in record]


@pytest.mark.slow
def test_two_processes_have_the_loss_curve_of_one_and_its_weights(write_run: Callable[..., Path]) -> None:
    one, two = write_run("tagging", "one", **KEYS), write_run("tagging", "two", **KEYS)
    alone, both = run(one), run(two, *LAUNCH, f"--main_process_port={free_port()}")
    assert alone.returncode == 0, alone.stderr[-2000:]
    assert both.returncode == 0, both.stderr[-2000:]
    outputs = [path.with_suffix("") for path in (one, two)]
    assert len(losses(outputs[1])) == KEYS["steps"]  # one process writes the log
    assert losses(outputs[0]) == pytest.approx(losses(outputs[1]), abs=2e-4)
    ours, theirs = (load_file(output / "model" / "model.safetensors") for output in outputs)
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], rtol=1e-3, atol=1e-4, msg=name)
    assert json.loads((outputs[1] / "environment.json").read_text())["processes"] == 2


@pytest.mark.slow
def test_a_stage_that_cannot_be_shared_is_refused(write_run: Callable[..., Path]) -> None:
    found = run(write_run("verbalising"), *LAUNCH, f"--main_process_port={free_port()}")
    assert found.returncode != 0 and "verbalising trains in one process" in found.stderr
