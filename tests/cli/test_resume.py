"""Runs that were stopped go on: at every moment at which a process can be killed, and with the real command.

All that a run writes is handed to the system at once, so a copy of the output folder is what a kill would leave.
"""

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import Result
from hypothesis import given, settings
from hypothesis import strategies as st

from sonopsis.cli import journal
from sonopsis.cli.inputs import UNFINISHED
from sonopsis.cli.journal import JOURNAL, Finished, Journal, NotGoingOn
from sonopsis.cli.outputs import Combined, Document, Folder, Output
from sonopsis.results import FileResult, Part, WindowResult
from sonopsis.writers import WRITERS

Run = Callable[..., Result]
COMBINED = [name for name in WRITERS if name != "npz"]
FORMATS = {Folder: ["csv", "json", "srt", "parquet", "npz"], Combined: COMBINED}
SETTINGS = {"hop": None}


def files(folder: Path, everything: bool = False) -> dict[str, bytes]:
    """The bytes of all files of a folder, but not of the journal unless `everything` is wanted."""
    found = (path for path in folder.rglob("*") if path.is_file() and (everything or path.name != JOURNAL))
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


class Recordings:
    """Small files, and what a model says of them: the third one fails, after its first window."""

    def __init__(self, folder: Path) -> None:
        self.paths = [str(folder / f"{name}.wav") for name in "abcde"]
        for path in self.paths:
            Path(path).write_text(path)

    def parts(self, path: str) -> Iterator[Part]:
        number = self.paths.index(path)
        head = FileResult(path, 2.0 + number / 3, "m")
        vector = np.full(3, number, np.float32)
        yield Part(head, WindowResult(0.0, 1.0, [("Dog", 0.1 * number)], f"sound {number}", -1.0, vector))
        if number == 2:
            yield Part(FileResult(path, 0.0, "m", error=f"{path}: is damaged"), None)
            return
        yield Part(head, WindowResult(1.0, head.duration, [("Rain", 0.5)], embedding=vector))
        yield Part(head, None)

    def open(self, folder: Path, kind: type[Output], resume: bool) -> Output:
        opened = Journal(folder, SETTINGS, resume=resume)
        if kind is Folder:
            return Folder(folder, FORMATS[kind], opened, {path: PurePath(Path(path).stem) for path in self.paths})
        return Combined(folder, FORMATS[kind], opened, clock=True)

    def run(self, folder: Path, kind: type[Output], moment: Callable[[], object], resume: bool = False) -> list[str]:
        """A run to its end; `moment` is called before every part. Returns the recordings that were described."""
        output = self.open(folder, kind, resume)
        before = output.finished(self.paths)
        left = [path for path in self.paths if path not in before]

        def parts() -> Iterator[Part]:
            for path in left:
                for part in self.parts(path):
                    moment()
                    yield part

        with output:
            output.write(parts())
        output.journal.close(keep=True)
        return left


@pytest.mark.parametrize("kind", [Folder, Combined])
def test_a_run_goes_on_from_every_moment(kind: type[Output], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sounds").mkdir()
    recordings = Recordings(tmp_path / "sounds")
    moments: list[Path] = []

    seen: list[dict[str, bytes]] = []

    def moment() -> None:
        there = files(tmp_path / "whole", everything=True)
        if not seen or there != seen[-1]:
            seen.append(there)
            moments.append(tmp_path / f"moment{len(moments)}")
            shutil.copytree(tmp_path / "whole", moments[-1])

    def watched(patch: pytest.MonkeyPatch, kind: type[Any], name: str) -> None:
        plain = getattr(kind, name)

        def work(self: Any, *arguments: Any) -> Any:
            moment()
            found = plain(self, *arguments)
            moment()
            return found

        patch.setattr(kind, name, work)

    with monkeypatch.context() as patch:
        watched(patch, Journal, "add")
        watched(patch, Document, "finish")
        watched(patch, Path, "replace")
        assert recordings.run(tmp_path / "whole", kind, moment) == recordings.paths
    expected = files(tmp_path / "whole")
    assert not [name for name in expected if name.endswith(UNFINISHED)]
    shorter = 0
    for place in moments:
        left = recordings.run(place, kind, lambda: None, resume=True)
        shorter += len(left) < len(recordings.paths)
        assert files(place) == expected
    assert shorter > len(moments) / 2


@pytest.mark.parametrize("kind", [Folder, Combined])
def test_a_finished_run_has_nothing_left_but_what_failed_or_changed(kind: type[Output], tmp_path: Path) -> None:
    recordings = Recordings(tmp_path)
    recordings.run(tmp_path / "out", kind, lambda: None)
    expected = files(tmp_path / "out")
    failed = recordings.paths[2:3] if kind is Folder else []
    assert recordings.run(tmp_path / "out", kind, lambda: None, resume=True) == failed
    assert files(tmp_path / "out") == expected
    Path(recordings.paths[3]).write_text("recorded again")
    later = recordings.paths[2:4] if kind is Folder else recordings.paths[3:]
    assert recordings.run(tmp_path / "out", kind, lambda: None, resume=True) == later
    assert files(tmp_path / "out") == expected
    for format in ("csv", "parquet"):
        changed = tmp_path / "out" / f"{'b' if kind is Folder else 'results'}.{format}"
        changed.write_bytes(b"")
        assert recordings.paths[1] in recordings.run(tmp_path / "out", kind, lambda: None, resume=True)
        assert files(tmp_path / "out") == expected


def test_new_recordings_are_added_to_a_combined_file(tmp_path: Path) -> None:
    recordings = Recordings(tmp_path)
    every = recordings.paths
    recordings.run(tmp_path / "whole", Combined, lambda: None)
    recordings.paths = every[:4]
    recordings.run(tmp_path / "out", Combined, lambda: None)
    recordings.paths = every
    assert recordings.run(tmp_path / "out", Combined, lambda: None, resume=True) == every[4:]
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_without_resume_a_run_begins_again(tmp_path: Path) -> None:
    recordings = Recordings(tmp_path)
    recordings.run(tmp_path / "out", Folder, lambda: None)
    assert recordings.run(tmp_path / "out", Folder, lambda: None) == recordings.paths


ENTRIES = [Finished(f"{n}.wav", [n, n * 10], None, {f"{n}.csv": n}) for n in range(4)]


@given(st.data())
@settings(max_examples=30)
def test_a_line_that_was_cut_off_is_not_there(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("journal")
    written = Journal(folder, SETTINGS, resume=False)
    ends = [(folder / JOURNAL).stat().st_size]
    for entry in ENTRIES:
        written.add(entry)
        ends.append((folder / JOURNAL).stat().st_size)
    written.close(keep=True)
    length = data.draw(st.integers(0, ends[-1]))
    with (folder / JOURNAL).open("r+b") as stream:
        stream.truncate(length)
    again = Journal(folder, SETTINGS, resume=True)
    whole = max(sum(end <= length for end in ends) - 1, 0)
    assert again.finished == ENTRIES[:whole]
    again.add(ENTRIES[0])
    again.close(keep=True)
    assert Journal(folder, SETTINGS, resume=True).finished == [*ENTRIES[:whole], ENTRIES[0]]


def test_other_settings_are_refused(tmp_path: Path) -> None:
    Journal(tmp_path, SETTINGS, resume=False).close(keep=True)
    with pytest.raises(NotGoingOn, match="another hop;"):
        Journal(tmp_path, SETTINGS | {"hop": 1.0}, resume=True)


@pytest.mark.parametrize("line", [b'{"a":1}\n', b"[1]\n", b"7\n", b'{"settings":3}\n', b"no JSON\n", b"\xff\xfe\n"])
def test_a_foreign_file_in_the_place_of_the_journal_is_left_alone(line: bytes, tmp_path: Path) -> None:
    (tmp_path / JOURNAL).write_bytes(line)
    with pytest.raises(NotGoingOn, match=f"{JOURNAL} was not written by sonopsis, or is damaged; remove it") as found:
        Journal(tmp_path, SETTINGS, resume=True)
    assert len(str(found.value).splitlines()) == 1
    assert (tmp_path / JOURNAL).read_bytes() == line
    Journal(tmp_path, SETTINGS, resume=False).close(keep=True)


@pytest.mark.parametrize(
    "line", [b'{"a":1}\n', b"[1]\n", b'{"path":1,"stamp":0,"error":2,"files":3}\n', bytes(40) + b"\n"]
)
@pytest.mark.parametrize("kind", [Folder, Combined])
def test_from_a_damaged_line_on_recordings_are_described_again(kind: type[Output], line: bytes, tmp_path: Path) -> None:
    recordings = Recordings(tmp_path)
    recordings.run(tmp_path / "out", kind, lambda: None)
    expected = files(tmp_path / "out")
    lines = (tmp_path / "out" / JOURNAL).read_bytes().splitlines(keepends=True)
    lines[2] = line
    (tmp_path / "out" / JOURNAL).write_bytes(b"".join(lines))
    assert recordings.run(tmp_path / "out", kind, lambda: None, resume=True) == recordings.paths[1:]
    assert files(tmp_path / "out") == expected


@pytest.mark.skipif(sys.platform == "win32", reason="there are no locks")
@pytest.mark.parametrize("resume", [False, True])
def test_a_second_run_into_a_folder_waits_for_its_turn(resume: bool, tmp_path: Path) -> None:
    first = Journal(tmp_path, SETTINGS, resume=resume)
    first.add(ENTRIES[0])
    before = (tmp_path / JOURNAL).read_bytes()
    with pytest.raises(NotGoingOn, match="another run writes there"):
        Journal(tmp_path, SETTINGS, resume=resume)
    assert (tmp_path / JOURNAL).read_bytes() == before
    first.close(keep=resume)
    Journal(tmp_path, SETTINGS, resume=resume).close(keep=False)
    assert not list(tmp_path.iterdir())


def test_a_file_is_told_from_its_later_versions(tmp_path: Path) -> None:
    file = tmp_path / "a.wav"
    assert journal.stamp(str(file)) is None
    file.write_text("a")
    first = journal.stamp(str(file))
    file.write_text("ab")
    assert first is not None and first != journal.stamp(str(file))


# ---- the command


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "week"
    place.mkdir()
    rng = np.random.default_rng(0)
    for n in range(8):
        soundfile.write(place / f"{n}.wav", 0.1 * rng.standard_normal(4 * 16_000), 16_000)
    (place / "2.wav").write_bytes(b"no recording")
    return place


def test_a_second_run_does_nothing_again(sonopsis: Run, tiny_model: Path, folder: Path, tmp_path: Path) -> None:
    errors = tmp_path / "errors.csv"
    options = ("tag", folder, "--model", tiny_model, "-f", "csv", "-f", "json", "--resume", "--errors", errors)
    for combined in ((), ("--combined",)):
        out = tmp_path / f"out{len(combined)}"
        first = sonopsis(*options, "-o", out, *combined)
        before = files(out)
        second = sonopsis(*options, "-o", out, *combined)
        assert (first.exit_code, second.exit_code) == (1, 1)
        assert files(out) == before
        assert f"7 file(s) are in {out}, 7 of them from an earlier run" in second.stderr
        assert first.stderr.splitlines()[0] == second.stderr.splitlines()[0]
        assert errors.read_text().splitlines()[0] == "file,error"
        assert [line.split(",")[0] for line in errors.read_text().splitlines()[1:]] == [str(folder / "2.wav")]
        other = sonopsis(*options, "-o", out, *combined, "--hop", 1)
        assert other.exit_code == 1 and "another hop;" in other.stderr
    assert sorted(files(tmp_path / "out1")) == ["results.csv", "results.json"]
    together = json.loads((tmp_path / "out1" / "results.json").read_text())
    assert [Path(entry["path"]).stem for entry in together] == list("01234567")


def test_a_run_that_ends_leaves_nothing_but_its_results(
    sonopsis: Run, tiny_model: Path, sounds: Path, tmp_path: Path
) -> None:
    assert sonopsis("tag", sounds, "--model", tiny_model, "-o", tmp_path, "--combined").exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["results.txt"]
    alone = sonopsis("tag", sounds, "--model", tiny_model)
    assert (tmp_path / "results.txt").read_text() == alone.stdout


def test_a_recording_that_gets_another_name_leaves_no_rows_under_its_old_one(
    sonopsis: Run, tiny_model: Path, sounds: Path, tmp_path: Path
) -> None:
    week, out = tmp_path / "week", tmp_path / "out"
    week.mkdir()
    shutil.copy(sounds / "noise.wav", week / "s.wav")
    options = ("tag", week, "--model", tiny_model, "-f", "csv", "-f", "json", "--resume", "-o", out)
    assert sonopsis(*options).exit_code == 0
    (out / "s.json").write_text("changed by somebody")
    shutil.copy(sounds / "deep" / "silence.ogg", week / "s.ogg")
    again = sonopsis(*options)
    expected = ["s.json", "s.ogg.csv", "s.ogg.json", "s.wav.csv", "s.wav.json"]
    assert sorted(files(out)) == expected
    assert f"removed {out / 's.csv'}: " in again.stderr
    assert sonopsis(*options).stderr == f"results of 2 file(s) are in {out}, 2 of them from an earlier run\n"
    assert sorted(files(out)) == expected


def test_options_about_a_folder_need_one(sonopsis: Run, sounds: Path) -> None:
    for option in ("--resume", "--combined"):
        refused = sonopsis("tag", sounds, option)
        assert refused.exit_code == 2 and "--output" in refused.stderr


@pytest.mark.slow
@pytest.mark.parametrize("combined", [False, True])
def test_a_run_that_is_killed_again_and_again_ends_with_the_same_bytes(
    tiny_model: Path, folder: Path, tmp_path: Path, combined: bool
) -> None:
    """`kill -9` when the output folder has grown by a random number of bytes, until a run reaches its end."""
    command = [sys.executable, "-m", "sonopsis", "tag", folder, "--model", tiny_model, "--workers", "2", "-q"]
    command += [option for name in (COMBINED if combined else WRITERS) for option in ("-f", name)]
    command += ["--resume", *(["--combined"] if combined else [])]
    subprocess.run([*command, "-o", tmp_path / "whole"], capture_output=True)
    draws, kills = random.Random(7), 0
    for _ in range(40):
        out = tmp_path / "killed"
        before = grown = size(out)
        more = draws.randint(1, size(tmp_path / "whole") // 5)
        with subprocess.Popen([*command, "-o", out], stderr=subprocess.DEVNULL) as process:
            while process.poll() is None and grown < before + more:
                time.sleep(0.005)
                grown = size(out)
            process.send_signal(signal.SIGKILL)
        if process.returncode == 1:  # one recording is broken
            break
        kills += 1
    assert process.returncode == 1 and kills > 1
    assert files(tmp_path / "killed") == files(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("command", [("tag",), ("tag", "--events"), ("caption", "--scenes")])
def test_ctrl_c_keeps_what_is_done_and_resume_goes_on(
    tiny_model: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    """A short recording and a long one; the interrupt comes when the second has rows."""
    rng = np.random.default_rng(0)
    changing = [level * rng.standard_normal(16_000) for n in range(600) for level in (0.1 * (n % 2),)]
    soundfile.write(tmp_path / "0.wav", np.concatenate(changing[:4]), 16_000)
    soundfile.write(tmp_path / "1.wav", np.concatenate(changing), 16_000)
    whole = [sys.executable, "-m", "sonopsis", command[0], str(tmp_path / "0.wav"), str(tmp_path / "1.wav")]
    whole += ["--model", str(tiny_model), "--window", "1", *command[1:], "-f", "csv", "-f", "vtt", "--resume", "-o"]
    out = tmp_path / "out"
    with subprocess.Popen([*whole, str(out)], stderr=subprocess.PIPE, text=True) as process:
        unfinished = out / "1.csv.part"
        while process.poll() is None and not (unfinished.exists() and unfinished.read_text().count("\n") > 3):
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"{unfinished} has what was done" in said and "the same command with --resume goes on" in said
    kept = unfinished.read_text()
    assert kept.endswith("\n") and (out / "0.csv").exists()
    assert subprocess.run([*whole, str(out)], capture_output=True).returncode == 0
    done = (out / "1.csv").read_text()
    lines = kept.splitlines()
    assert done.splitlines()[: len(lines) - 1] == lines[:-1]  # the last event or scene was ended by the interrupt
    assert not list(out.glob("*.part"))


def test_ctrl_c_says_that_standard_input_begins_anew(tiny_model: Path, tmp_path: Path) -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal(8 * 16_000)
    soundfile.write(tmp_path / "a.wav", noise, 16_000)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "sonopsis", "tag", "-", "--model", tiny_model, "-f", "csv", "--resume", "-o", out]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stderr is not None
        process.stdin.write((tmp_path / "a.wav").read_bytes()[:-16_000])
        process.stdin.flush()  # and it stays open
        unfinished = out / "stdin.csv.part"
        while process.poll() is None and not (unfinished.exists() and unfinished.read_text().count("\n") > 2):
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        said = process.stderr.read().decode().splitlines()
    assert process.returncode == 130
    assert said == [
        f"{unfinished} has what was done",
        "stopped; standard input cannot be heard again, and the same command writes its files anew",
    ]


def size(folder: Path) -> int:
    """Bytes of the files of a folder; a file may vanish meanwhile."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total
