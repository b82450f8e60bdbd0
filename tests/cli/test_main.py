"""The frame of the command: help, version, exit status of what makes no sense."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import sonopsis as package
from sonopsis.cli.main import app

SONOPSIS = [sys.executable, "-m", "sonopsis"]
VERBS = ["tag", "caption", "info", "eval", "train", "data"]


def test_python_m_prints_the_version() -> None:
    done = subprocess.run([sys.executable, "-m", "sonopsis", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"sonopsis {package.__version__}\n", "")


def test_help_of_every_verb_is_there_without_heavy_imports() -> None:
    code = """if True:
        import sys
        from typer.testing import CliRunner
        from sonopsis.cli.main import app
        for verb in sys.argv[1:]:
            result = CliRunner().invoke(app, [verb, "--help"])
            assert result.exit_code == 0 and "Usage" in result.stdout, verb
        print(*({"torch", "numpy", "soundfile", "tokenizers"} & set(sys.modules)))
    """
    done = subprocess.run([sys.executable, "-c", code, *VERBS], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")


def test_a_verb_reads_the_file_of_no_other_verb() -> None:
    code = """if True:
        import sys
        from typer.testing import CliRunner
        from sonopsis.cli.main import VERBS, app
        assert CliRunner().invoke(app, ["caption", "--help"]).exit_code == 0
        print(*(verb for verb in VERBS if f"sonopsis.cli.{verb}" in sys.modules))
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "caption", "")


def test_help_names_every_verb() -> None:
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    assert [verb for verb in VERBS if f" {verb} " not in result.stdout] == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["tag"],
        ["tag", "a.wav", "--top-k", "0"],
        ["tag", "a.wav", "--threshold", "1.5"],
        ["tag", "a.wav", "--keep-rate", "0"],
        ["tag", "a.wav", "--keep-rate", "1.1"],
        ["caption", "a.wav", "--macs", "1.1"],
        ["tag", "a.wav", "--macs", "0.6", "--keep-rate", "0.7"],
        ["caption", "a.wav", "--window", "-1"],
        ["caption", "a.wav", "--window", "0.05"],
        ["caption", "a.wav", "--hop", "nan"],
        ["tag", "a.wav", "--hop", "0.00001"],
        ["caption", "a.wav", "--beams", "0"],
        ["tag", "a.wav", "--format", "xml"],
        ["tag", "a.wav", "-f", "json", "-f", "srt"],
        ["train", "no-such-file.yaml"],
        ["eval", "default", "no-such-file.jsonl"],
        ["bark"],
    ],
)
def test_what_makes_no_sense_ends_with_status_2_before_anything_is_loaded(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert result.stdout == "" and result.stderr != ""


def test_several_formats_on_standard_output_are_refused_with_the_way_out() -> None:
    result = CliRunner().invoke(app, ["tag", "a.wav", "-f", "json", "-f", "srt"])
    assert "--output" in result.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no file that is always full")
@pytest.mark.parametrize(
    "command",
    [
        ["tag", "{sound}", "-f", "csv"],
        ["tag", "{sound}", "--errors", "/dev/full", "-f", "csv"],
        ["data", "list"],
        ["info", "--json"],
    ],
)
def test_an_output_that_is_full_is_said_in_one_line(command: list[str], sounds: Path) -> None:
    words = [word.format(sound=sounds / "noise.wav") for word in command]
    with open("/dev/full", "w") as full:
        found = subprocess.run([*SONOPSIS, *words], stdout=full, stderr=subprocess.PIPE, text=True)
    assert found.returncode == 1
    assert len(found.stderr.splitlines()) == 1 and "cannot be written to (No space left on device)" in found.stderr


@pytest.mark.skipif(os.name != "posix", reason="needs a shell that closes streams")
@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("tag - <&-", "standard input cannot be read (it is closed)"),
        ("tag --files-from - <&-", "standard input is closed"),
        ("tag {sound} >&-", "standard output is closed"),
        ("tag - <&1", "standard input cannot be read ("),
    ],
)
def test_a_stream_that_is_closed_is_said_in_one_line(command: str, said: str, sounds: Path, tmp_path: Path) -> None:
    line = f"{shlex.join(SONOPSIS)} {command.format(sound=shlex.quote(str(sounds / 'noise.wav')))}"
    with (tmp_path / "out.txt").open("w") as out:
        found = subprocess.run(line, shell=True, stdout=out, stderr=subprocess.PIPE, text=True)
    assert found.returncode in (1, 2)
    assert said in found.stderr and "Traceback" not in found.stderr


@pytest.mark.skipif(os.name != "posix", reason="needs a shell that closes streams")
def test_a_run_needs_no_standard_error(tiny_model: Path, sounds: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_text("no sound")
    rows = list[str]()
    for more, status in (([], 0), ([str(tmp_path / "broken.wav")], 1), (["--hop", "nan"], 2)):
        words = ["tag", str(sounds / "noise.wav"), "--model", str(tiny_model), "-f", "csv", *more]
        line = f"{shlex.join([*SONOPSIS, *words])} 2>&-"
        found = subprocess.run(line, shell=True, stdout=subprocess.PIPE, text=True)
        assert found.returncode == status
        rows.append(found.stdout)
    assert rows[0] == rows[1] != "" and len(rows[0].splitlines()) > 1 and rows[2] == ""
