"""Stages run in their order, are skipped when they are done, and carry on after a kill; real processes are killed."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from stages import RESULT, Stage, StageError, digest, run_stages

RECORD = Path("work/stages.json")
# Tells that it has begun, waits until the test lets it end, and writes its result.
WAITING = (
    "import pathlib, time; pathlib.Path('log').open('a').write('two ')\n"
    "while not pathlib.Path('go').exists(): time.sleep(0.01)\n"
    "pathlib.Path('two').write_text('done')"
)
PARENT = """
import sys
from pathlib import Path
from test_stages import RECORD, slow_plan
from stages import StageError, run_stages
try:
    sys.exit(run_stages(slow_plan(), RECORD, Path('.')))
except StageError as error:
    sys.exit(f"error: {error}")
"""


def python(code: str) -> tuple[str, ...]:
    return sys.executable, "-S", "-c", code  # without the packages installed: it starts at once


def write(name: str, text: str) -> str:
    return f"open({name!r}, 'w').write({text!r}); open('log', 'a').write({name!r} + ' ')"


def slow_plan() -> list[Stage]:
    return [
        Stage("first", python(write("one", "1")), result=Path("one")),
        Stage("second", python(WAITING), (Path("one"),), Path("two")),
        Stage("third", python(write("three", "3")), (Path("two"),), Path("three")),
    ]


def until(condition: Callable[[], bool]) -> None:
    for _ in range(6000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("this never came true")


def log(folder: Path) -> list[str]:
    return (folder / "log").read_text().split() if (folder / "log").exists() else []


def start(folder: Path) -> "subprocess.Popen[str]":
    path = f"import sys; sys.path[:0] = {[str(Path(__file__).parent), *sys.path]!r}\n"
    return subprocess.Popen(
        [sys.executable, "-c", path + PARENT], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_what_was_stopped_carries_on_and_what_is_done_is_skipped(tmp_path: Path) -> None:
    running = start(tmp_path)
    until(lambda: log(tmp_path) == ["one", "two"])
    running.send_signal(signal.SIGTERM)
    said = running.communicate()[0]
    assert running.returncode == 128 + signal.SIGTERM
    assert said.splitlines()[-1] == "2/3 second: stopped; the same command carries on"
    assert not (tmp_path / "two").exists()
    (tmp_path / "go").touch()  # would let a command that is still there end, too
    again = start(tmp_path)
    said = again.communicate()[0]
    assert again.returncode == 0 and log(tmp_path) == ["one", "two", "two", "three"]
    assert [line.partition(":")[0] for line in said.splitlines()] == ["1/3 first", "2/3 second", "3/3 third"]
    assert said.splitlines()[0] == "1/3 first: done before"


def test_a_command_left_alone_is_not_started_a_second_time_beside_itself(tmp_path: Path) -> None:
    running = start(tmp_path)
    until(lambda: log(tmp_path) == ["one", "two"])
    running.kill()
    running.wait()
    other = start(tmp_path)
    assert "is in use" in other.communicate()[1] and other.returncode == 1
    (tmp_path / "go").touch()
    until(lambda: (tmp_path / "two").exists())

    def finished() -> bool:
        last = start(tmp_path)
        last.communicate()
        return last.returncode == 0

    until(finished)  # once the command has ended
    assert log(tmp_path) == ["one", "two", "two", "three"]


def test_a_stage_is_done_again_when_what_it_reads_or_its_result_has_changed(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("steps: 1  # few\n")
    command = python(write("one", "1"))
    stages = [Stage("one", command, (Path("config.yaml"),), Path("one")), Stage("quick", python(write("q", "")))]

    def ran() -> list[str]:
        (tmp_path / "log").unlink(missing_ok=True)
        assert run_stages(stages, RECORD, tmp_path) == 0
        return log(tmp_path)

    assert ran() == ["one", "q"]
    assert ran() == ["q"]  # a stage without a result is run every time
    (tmp_path / "config.yaml").write_text("steps: 1\n")
    assert ran() == ["q"]  # a comment is not read
    (tmp_path / "config.yaml").write_text("steps: 2\n")
    assert ran() == ["one", "q"]
    (tmp_path / "one").unlink()
    assert ran() == ["one", "q"]


def test_a_folder_is_changed_in_a_copy_and_what_is_printed_is_kept_whole(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "labels").write_text("all")
    code = "import sys; open(sys.argv[1] + '/labels', 'w').write('some'); {}"
    broken = Stage(
        "keep", (*python(code.format("sys.exit(3)")), RESULT), (Path("model"),), Path("kept"), copies=Path("model")
    )
    with pytest.raises(StageError, match="keep ended with the exit status 3"):
        run_stages([broken], RECORD, tmp_path)
    assert not (tmp_path / "kept").exists()
    right = replace(broken, command=(*python(code.format("")), RESULT))
    half = Stage("figures", python("print(1); raise SystemExit(1)"), (), Path("out/f.json"), printed=True)
    with pytest.raises(StageError, match="figures ended with"):
        run_stages([right, half], RECORD, tmp_path)
    assert (tmp_path / "kept" / "labels").read_text() == "some"
    assert (tmp_path / "model" / "labels").read_text() == "all"
    assert not (tmp_path / "out" / "f.json").exists()
    run_stages([right, replace(half, command=python("print(2)"))], RECORD, tmp_path)
    assert (tmp_path / "out" / "f.json").read_text() == "2\n"


def test_a_run_that_began_with_other_files_is_not_carried_on(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("first")
    code = "import os; os.makedirs('run', exist_ok=True); open('run/model', 'a').write('trained ')"
    stage = Stage("train", python(code), (Path("model"),), Path("run/model"), begun=Path("run"))
    run_stages([stage], RECORD, tmp_path)
    (tmp_path / "model").write_text("second")
    with pytest.raises(StageError, match=r"since run was begun, something has changed: model\. Delete"):
        run_stages([stage], RECORD, tmp_path)
    assert (tmp_path / "run" / "model").read_text() == "trained "
    (tmp_path / "run" / "model").unlink()
    (tmp_path / "run").rmdir()
    assert run_stages([stage], RECORD, tmp_path) == 0
    assert json.loads((tmp_path / RECORD).read_text())["train"]["done"] is True


def test_a_digest_is_of_names_and_content(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_text("1")
    first = digest(tmp_path / "a")
    (tmp_path / "a" / "__pycache__").mkdir()
    (tmp_path / "a" / "__pycache__" / "x.pyc").write_text("")
    assert digest(tmp_path / "a") == first
    (tmp_path / "a" / "x").rename(tmp_path / "a" / "y")
    assert digest(tmp_path / "a") != first
    assert digest(tmp_path / "b") == "missing"
