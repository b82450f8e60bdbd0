"""A run that is killed, interrupted or started anew ends with the weights of one that was never stopped."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sonopsis.training.kept import find_kept
from sonopsis.training.resume import CHECKPOINT, SCRATCH, find_checkpoint, write_checkpoint
from sonopsis.training.run import train

STEPS = 40


def written(text: str) -> Callable[[Path], None]:
    def save(folder: Path) -> None:
        folder.mkdir()
        (folder / "weights").write_text(text)

    return save


def content(output: Path) -> tuple[str, int]:
    folder, step = find_checkpoint(output)
    assert folder is not None
    return (folder / "weights").read_text(), step


def test_without_a_checkpoint_a_run_begins(tmp_path: Path) -> None:
    assert find_checkpoint(tmp_path) == (None, 0)
    (tmp_path / CHECKPOINT).mkdir()  # not whole: there is no marker
    assert find_checkpoint(tmp_path) == (None, 0)


def test_a_kill_while_writing_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, 5, written("five"))

    def killed(folder: Path) -> None:
        written("half of ten")(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_checkpoint(tmp_path, 10, killed)
    assert content(tmp_path) == ("five", 5)
    write_checkpoint(tmp_path, 15, written("fifteen"))
    assert content(tmp_path) == ("fifteen", 15) and not (tmp_path / SCRATCH).exists()


def test_a_kill_between_removing_the_old_and_naming_the_new_loses_nothing(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, 5, written("five"))
    (tmp_path / CHECKPOINT).rename(tmp_path / SCRATCH)
    assert content(tmp_path) == ("five", 5)

    def killed(folder: Path) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_checkpoint(tmp_path, 10, killed)
    assert content(tmp_path) == ("five", 5)


def test_so_many_checkpoints_stay_and_the_newest_whole_one_is_found(tmp_path: Path) -> None:
    for step in (5, 10, 15, 20):
        write_checkpoint(tmp_path, step, written(str(step)), kept=3)
    assert sorted(folder.name for folder in tmp_path.iterdir()) == [CHECKPOINT, "checkpoint-10", "checkpoint-15"]
    assert content(tmp_path) == ("20", 20)
    shutil.rmtree(tmp_path / CHECKPOINT)  # what someone does whose run had gone wrong by then
    assert content(tmp_path) == ("15", 15)
    write_checkpoint(tmp_path, 18, written("18"), kept=2)
    assert sorted(folder.name for folder in tmp_path.iterdir()) == [CHECKPOINT, "checkpoint-15"]
    write_checkpoint(tmp_path, 25, written("25"))
    assert [folder.name for folder in tmp_path.iterdir()] == [CHECKPOINT]


def test_many_checkpoints_stay_from_the_first_on(tmp_path: Path) -> None:
    for step in range(8):
        write_checkpoint(tmp_path, step, written(str(step)), kept=5)
        assert len(list(tmp_path.iterdir())) == min(step + 1, 5)


def test_a_checkpoint_of_another_run_is_not_carried_on(write_run: Callable[..., Path], tmp_path: Path) -> None:
    train(write_run("tagging"))
    train(write_run("tagging", steps=3))  # more steps of the same model
    with pytest.raises(ValueError, match=r"output: .* holds a checkpoint of another run \(encoder differ\)"):
        train(write_run("tagging", encoder={"depth": 5}))
    with pytest.raises(ValueError, match=r"another run \(front_end differ\)"):
        train(write_run("tagging", front_end={"mean": -3.0}))
    (tmp_path / "run" / "config.yaml").unlink()
    with pytest.raises(ValueError, match=r"holds a checkpoint without its config.yaml; delete that folder"):
        train(write_run("tagging", steps=3))


def start(path: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "sonopsis", "train", str(path)], stderr=subprocess.PIPE, env=os.environ
    )


def wait_for_step(process: "subprocess.Popen[bytes]", log: Path, step: int) -> None:
    while process.poll() is None:
        lines = log.read_text().splitlines() if log.is_file() else []
        if lines and json.loads(lines[-1])["step"] >= step:
            return
        time.sleep(0.005)
    raise AssertionError(f"the run ended before step {step}: {process.stderr and process.stderr.read()[-2000:]!r}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "number"),
    [("tagging", signal.SIGKILL), ("tagging", signal.SIGINT), ("tagging", signal.SIGTERM), ("masked", signal.SIGKILL)],
)
def test_a_run_killed_at_any_step_ends_with_the_same_weights(
    stage: str, number: signal.Signals, write_run: Callable[..., Path], tmp_path: Path, root: Path
) -> None:
    """Random keep rates and masks, dropout of blocks and the composed batches go on where they were."""
    keys: dict[str, Any] = {
        "steps": STEPS,
        "save_every": 7,
        "validate_every": 5,
        "keep": "best",
        "encoder": {"drop_path": 0.3},
        "batch_size": 3,
        "micro_batch": 2,
        "checkpoints": 2,
    }
    keys["data"] = {"manifest": str(root / "manifest.jsonl")}
    whole = train(write_run(stage, "whole", **keys))
    path = write_run(stage, "parts", **keys)
    for step in (9, 20):
        process = start(path)
        wait_for_step(process, tmp_path / "parts" / "log.jsonl", step)
        process.send_signal(number)
        assert process.wait(timeout=60) == (-signal.SIGKILL if number == signal.SIGKILL else 130)
        folder, done = find_checkpoint(tmp_path / "parts")
        assert folder is not None and (done % 7 == 0 if number == signal.SIGKILL else done >= step)
        assert done < STEPS
    parts = train(path)
    assert (parts / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert find_kept(parts.parent) == find_kept(whole.parent) is not None
