"""A sweep: its file, its trials in a database that processes share, and its table."""

import csv
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from optuna.trial import TrialState

from sonopsis.study.sweep import open_study, point_of, points, run_sweep
from sonopsis.study.sweepfile import load_sweep
from sonopsis.study.sweeprun import run_once
from sonopsis.study.sweeptable import as_csv, effects, summary, text, write_table

RUN = {
    "stage": "tagging",
    "output": "unused",
    "precision": "no",
    "encoder": {"width": 16, "depth": 4, "heads": 2, "stem": "patch"},
    **{"steps": 2, "batch_size": 2, "warmup_steps": 1, "log_every": 1, "save_every": 1, "validate_every": 2},
}
AXES: dict[str, Any] = {
    "learning_rate": [0.001, 0.01],
    "size": {"thin": {"encoder.width": 16}, "broken": {"labels": ["Nobody"]}},
}
Write = Callable[..., Path]


@pytest.fixture
def write_sweep(tmp_path: Path, root: Path) -> Write:
    """Keys -> the file of a sweep of tiny runs."""

    def write(**keys: Any) -> Path:
        (tmp_path / "base.yaml").write_text(yaml.safe_dump({**RUN, "data": {"root": str(root), "workers": 0}}))
        fields = {"base": "base.yaml", "output": str(tmp_path / "out"), "objective": "map", "axes": AXES, "patience": 3}
        (tmp_path / "sweep.yaml").write_text(yaml.safe_dump({**fields, **keys}, sort_keys=False))
        return tmp_path / "sweep.yaml"

    return write


def start(path: Path, *more: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "sonopsis", "sweep", str(path), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)


def wait_for(condition: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    while not condition():
        assert process.poll() is None, process.stderr and process.stderr.read()
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"axis": 1}, "unknown key `axis`"),
        ({"base": "none.yaml"}, "`base` must be the path"),
        ({"axes": {"learning": [1]}}, "axes.learning: .*unknown key `learning`"),
        ({"axes": {"steps": ["many"]}}, "axes.steps: .*must be a whole number"),
        ({"axes": {"steps": []}}, "axes.steps must be a list"),
        ({"axes": {"steps": [1, 1]}}, "axes.steps: a value is named twice"),
        ({"axes": {"steps": {"low": 1, "high": 4}}}, "axes.steps: a grid needs a list"),
        (
            {"axes": {"steps": {"low": 4, "high": 1}}, "sampler": "tpe", "trials": 2},
            "axes.steps: low must be under high",
        ),
        ({"sampler": "tpe"}, "sampler tpe needs `trials`"),
        ({"trials": 3}, "`trials` is for sampler random or tpe"),
        ({"seeds": []}, "`seeds` must be a list"),
        ({"direction": "up"}, "`direction` must be maximize or minimize"),
        ({"patience": 0}, "`patience` must be"),
    ],
)
def test_what_is_no_sweep_is_refused_with_its_key(write_sweep: Write, keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=rf"sweep\.yaml: {said}"):
        load_sweep(write_sweep(**keys))


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[2] / "configs" / "sweeps").iterdir()), ids=lambda p: p.stem
)
def test_the_sweeps_that_are_shipped_name_keys_that_exist(path: Path) -> None:
    sweep = load_sweep(path)
    assert len(points(sweep)) == sweep.trials > 1
    assert all(sweep.config(point, 0, sweep.output).stage in ("tagging", "captioning") for point in points(sweep))


def test_a_grid_has_every_combination_and_sets_the_keys_of_its_choices(write_sweep: Write) -> None:
    sweep = load_sweep(write_sweep(axes={**AXES, "lora": [None, {"rank": 2}]}, set={"steps": 5}))
    grid = points(sweep)
    assert sweep.trials == len(grid) == len({sweep.run_name(point) for point in grid}) == 8
    assert grid[1] == {"learning_rate": "0.001", "size": "thin", "lora": "{rank: 2}"}
    config = sweep.config(grid[1], 3, Path("there"))
    assert (config.learning_rate, config.encoder.width, config.steps, config.seed) == (0.001, 16, 5, 3)
    assert config.lora is not None and config.lora.rank == 2 and config.output == "there"


def test_random_points_are_the_same_everywhere_and_stay_when_there_are_more(write_sweep: Write) -> None:
    axes = {
        "learning_rate": {"low": "1e-4", "high": "1e-2", "log": True},
        "batch_size": {"low": 2, "high": 8, "step": 2},
    }
    first = points(load_sweep(write_sweep(axes=axes, sampler="random", trials=5)))
    more = points(load_sweep(write_sweep(axes=axes, sampler="random", trials=9)))
    assert len(first) == 5 and more[:5] == first
    assert all(1e-4 <= point["learning_rate"] <= 1e-2 and point["batch_size"] in (2, 4, 6, 8) for point in more)


@pytest.mark.slow
def test_a_sweep_finishes_keeps_errors_and_is_not_run_again(write_sweep: Write, tmp_path: Path) -> None:
    sweep = load_sweep(write_sweep(seeds=[0, 1]))
    said: list[str] = []
    found = summary(sweep, run_sweep(sweep, tell=said.append))
    assert found["states"] == {"finished": 2, "running": 0, "waiting": 0, "failed": 2} and len(said) == 4
    best, second, *failed = found["rows"]
    assert best["map"] >= second["map"] and best["seeds"] == 2 and best["deviation"] is not None
    assert all("Nobody" not in row["run"] and "rows of the manifest" in row["error"] for row in failed)
    runs = [json.loads(path.read_text()) for path in sorted((tmp_path / "out" / "results").iterdir())]
    assert len(runs) == 4 and {run["seed"] for run in runs} == {0, 1}
    mine = [run["value"] for run in runs if run["point"] == best["point"]]
    assert best["map"] == pytest.approx(sum(mine) / 2)
    assert runs[0]["config"]["steps"] == 2 and runs[0]["trainable"] == runs[0]["parameters"] > 0
    assert not list((tmp_path / "out" / "runs").rglob("checkpoint"))

    said.clear()
    assert summary(sweep, run_sweep(sweep, tell=said.append)) == found and said == []
    run_sweep(sweep, retry=True, tell=said.append)
    assert len(said) == 2 and all("failed" in line for line in said)
    (tmp_path / "out" / "study.db").unlink()  # the runs themselves remember that they are finished
    shutil.rmtree(tmp_path / "out" / "runs")
    again = summary(sweep, run_sweep(sweep))
    assert [row["map"] for row in again["rows"]] == [row["map"] for row in found["rows"]]

    rows = list(csv.DictReader(as_csv(found).splitlines()))
    assert [row["state"] for row in rows] == ["finished"] * 2 + ["failed"] * 2
    assert text(found).splitlines()[0] == "sweep: 2 finished, 2 failed" and len(text(found).splitlines()) == 6
    assert dict(effects(sweep, found["rows"])["size"])["broken"] == []
    write_table(sweep, found, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert page.count("<svg") == 2 and f"{best['map']:.4f}" in page and "rows of the manifest" in page
    assert json.loads((tmp_path / "page.json").read_text()) == found

    with pytest.raises(ValueError, match="other seeds; give this one another `name`"):
        open_study(load_sweep(write_sweep(seeds=[0])))


@pytest.mark.slow
def test_a_process_that_was_taken_for_dead_goes_on(write_sweep: Write) -> None:
    sweep = load_sweep(write_sweep(axes={"learning_rate": [0.001, 0.01]}))
    said: list[str] = []

    def give_away(line: str) -> None:  # what another process does while this one sleeps
        if not said:
            study = open_study(sweep)
            (running,) = (trial for trial in study.trials if trial.state == TrialState.RUNNING)
            study.tell(running.number, state=TrialState.FAIL)
            study.enqueue_trial(point_of(running), user_attrs={"killed": 1})
        said.append(line)

    found = summary(sweep, run_sweep(sweep, tell=give_away))
    assert found["states"] == {"finished": 2, "running": 0, "waiting": 0, "failed": 0}
    assert [line.startswith("trial ") for line in said] == [True, False, True, True] and "`patience`, 3 s" in said[1]


@pytest.mark.slow
def test_a_killed_sweep_goes_on_and_retries_what_ran(write_sweep: Write, tmp_path: Path) -> None:
    path = write_sweep(axes={"learning_rate": [0.001, 0.01]}, set={"steps": 30, "validate_every": 30})
    sweep, log = load_sweep(path), tmp_path / "out" / "runs"
    process = start(path)
    wait_for(lambda: any(file.stat().st_size for file in log.rglob("log.jsonl")), process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    found = start(path)
    out, error = found.communicate(timeout=200)
    assert found.returncode == 0, error
    assert "2 finished" in out
    trials = open_study(sweep).trials
    assert sorted(trial.state.name for trial in trials) == ["COMPLETE", "COMPLETE", "FAIL"]
    assert len({point_of(trial)["learning_rate"] for trial in trials}) == 2


@pytest.mark.slow
def test_the_training_of_a_killed_sweep_saves_and_ends(write_sweep: Write, tmp_path: Path) -> None:
    many = {"steps": 100_000, "save_every": 100_000, "validate_every": 100_000}
    process, runs = start(write_sweep(axes={"learning_rate": [0.001]}, set=many)), tmp_path / "out" / "runs"
    wait_for(lambda: any(file.stat().st_size for file in runs.rglob("log.jsonl")), process)
    (lock,) = runs.rglob(".lock")
    with lock.open("w") as file:
        with pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        process.send_signal(signal.SIGKILL)
        process.wait()
        fcntl.flock(file, fcntl.LOCK_EX)  # the training holds it until its end; of 100,000 steps none is waited for
    assert list(runs.rglob("checkpoint/step.json"))


@pytest.mark.slow
def test_an_interrupted_sweep_saves_its_run_and_goes_on(write_sweep: Write, tmp_path: Path) -> None:
    path = write_sweep(axes={"learning_rate": [0.001]}, set={"steps": 300, "save_every": 300, "validate_every": 300})
    process = start(path)
    wait_for(lambda: any(f.stat().st_size for f in (tmp_path / "out" / "runs").rglob("log.jsonl")), process)
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130 and "the same command carries on" in error
    assert list((tmp_path / "out" / "runs").rglob("checkpoint/step.json"))
    sweep = load_sweep(path)
    assert summary(sweep, open_study(sweep))["states"]["waiting"] == 1


def two_processes(path: Path, sweep: Any, *more: str) -> None:
    both = [start(path, *more) for _ in range(2)]
    said = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    done = [line for _, error in said for line in error.splitlines() if line.startswith("trial ")]
    assert len(done) == sweep.trials  # nothing was done twice
    assert all(any(line.startswith("trial ") for line in error.splitlines()) for _, error in said)  # and both worked
    assert said[0][0] == said[1][0]
    assert summary(sweep, open_study(sweep))["states"]["finished"] == sweep.trials


@pytest.mark.slow
def test_two_processes_share_a_study(write_sweep: Write) -> None:
    path = write_sweep(axes={"learning_rate": [0.001, 0.003, 0.01, 0.03]}, patience=60)
    two_processes(path, load_sweep(path))


@pytest.fixture
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a database of PostgreSQL that lives as long as the test."""
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'psycopg[binary]'")
    newest = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    if not newest:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    folder = Path(subprocess.run(["mktemp", "-d"], capture_output=True, text=True, check=True).stdout.strip())
    # It refuses to run for root; Debian's package makes a user for it.
    prefix = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if prefix:
        shutil.chown(folder, "postgres")
    initdb, control = (str(newest[-1] / name) for name in ("initdb", "pg_ctl"))
    where = ["-D", str(folder / "data")]
    quiet: Any = {"check": True, "stdout": subprocess.DEVNULL, "cwd": folder}
    subprocess.run([*prefix, initdb, *where, "-A", "trust", "-U", "sonopsis", "--no-sync"], **quiet)
    options = f"-k {folder} -c listen_addresses= -c fsync=off"
    subprocess.run([*prefix, control, *where, "-w", "-l", str(folder / "log"), "-o", options, "start"], **quiet)
    try:
        yield f"postgresql+psycopg://sonopsis@/postgres?host={folder}"
    finally:
        subprocess.run([*prefix, control, *where, "-m", "immediate", "stop"], **quiet)
        shutil.rmtree(folder)


@pytest.mark.slow
def test_two_processes_share_a_study_in_postgresql(write_sweep: Write, postgres: str) -> None:
    path = write_sweep(axes={"learning_rate": [0.001, 0.003, 0.01]}, patience=60)
    two_processes(path, load_sweep(path, postgres), "--storage", postgres)


@pytest.mark.slow
def test_tpe_tries_as_many_as_it_is_told(write_sweep: Write) -> None:
    axes = {"learning_rate": {"low": 0.001, "high": 0.1, "log": True}}
    sweep = load_sweep(write_sweep(axes=axes, sampler="tpe", trials=2))
    found = summary(sweep, run_sweep(sweep))
    assert found["states"]["finished"] == 2
    more = load_sweep(write_sweep(axes=axes, sampler="tpe", trials=3))
    assert summary(more, run_sweep(more))["states"]["finished"] == 3


@pytest.mark.slow
def test_a_finished_run_of_other_settings_is_not_taken_for_this_one(write_sweep: Write) -> None:
    sweep = load_sweep(write_sweep(axes={"learning_rate": [0.001]}))
    (point,) = points(sweep)
    first = run_once(sweep, point, 0)
    assert run_once(sweep, point, 0) == first
    shutil.rmtree(sweep.output / "runs")
    base = yaml.safe_load(sweep.base.read_text())
    sweep.base.write_text(yaml.safe_dump({**base, "steps": 3}))
    assert run_once(sweep, point, 0)["step"] == 3


def test_a_database_that_cannot_be_reached_is_one_line(write_sweep: Write) -> None:
    with pytest.raises(ValueError, match=r"storage: .*cannot be used|storage: this database needs"):
        open_study(load_sweep(write_sweep(), "postgresql+psycopg://nobody@127.0.0.1:1/none"))
