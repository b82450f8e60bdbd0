"""What the command meets besides recordings: odd names, a strange working folder, no home."""

import json
import os
import shutil
import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Run = Callable[..., Result]
MODULES = ("torch", "numpy", "soundfile", "yaml", "onnxruntime", "typer", "site")


@pytest.fixture(scope="module")
def program() -> str:
    """The installed command; `python -m` would put the working folder before all packages, as Python says it does."""
    found = shutil.which("sonopsis", path=sysconfig.get_path("scripts"))
    if found is None:
        pytest.skip("the command is not installed beside this Python")
    return found


def test_the_null_device_is_an_empty_file(sonopsis: Run, tiny_model: Path) -> None:
    result = sonopsis("tag", os.devnull, "--model", tiny_model, "-f", "json")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[0].startswith(f"error: {os.devnull}: the file is empty")
    (entry,) = json.loads(result.stdout)
    assert entry["path"] == os.devnull and entry["windows"] == []


def test_a_folder_with_the_name_of_a_recording_is_searched(
    sonopsis: Run, tiny_model: Path, sounds: Path, tmp_path: Path
) -> None:
    for folder in ("x.wav", "week/y.flac"):
        (tmp_path / folder).mkdir(parents=True)
        shutil.copy(sounds / "deep" / "tone.flac", tmp_path / folder / "tone.flac")
    for named in (tmp_path / "x.wav", tmp_path):
        result = sonopsis("tag", named, "--model", tiny_model, "-f", "json")
        assert (result.exit_code, result.stderr) == (0, "")
        found = [entry["path"] for entry in json.loads(result.stdout)]
        inside = [str(tmp_path / "x.wav" / "tone.flac")]
        assert found == (inside if named != tmp_path else [str(tmp_path / "week" / "y.flac" / "tone.flac"), *inside])


def test_modules_of_the_working_folder_are_not_taken_for_packages(
    program: str, answering_model: Path, sounds: Path, tmp_path: Path
) -> None:
    for name in MODULES:
        (tmp_path / f"{name}.py").write_text(f"raise RuntimeError('the wrong {name}')\n")
    line = [program, "caption", str(sounds), "--model", str(answering_model), "-f", "json"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "wrong" not in done.stderr, done.stderr
    assert len(json.loads(done.stdout)) == 3


def test_a_home_that_cannot_exist_is_not_needed(
    program: str, answering_model: Path, sounds: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "SONOPSIS_"))}
    line = [program, "tag", str(sounds / "noise.wav"), "--model", str(answering_model), "-f", "json"]
    environment["HOME"] = str(tmp_path / "file" / "nobody")  # nor can the administrator make it
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)[0]["duration"] == 6.0
