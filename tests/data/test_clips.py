"""Clips decoded once, and where they sound."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sonopsis.data import clips
from sonopsis.data.clips import Clip, ClipBank, with_activity
from sonopsis.data.manifest import Row

RATE = 16_000


def row(path: str, start: float = 0.0, end: float = 2.0) -> Row:
    return Row(path, start, end, ("Dog",), (), "p", f"p:{path}", "CC0", "train", path)


def test_silent_rows_are_left_out_and_times_count_from_the_start_of_the_file() -> None:
    samples = np.zeros(3 * RATE, np.float32)
    samples[RATE : 2 * RATE] = 0.5
    found = list(with_activity([row("a", 0.5), row("b", 0.0, 0.9)], lambda path: samples))
    assert [(clip.path, clip.active) for clip in found] == [("a", ((1.0, 2.0),))]
    assert found[0] == Clip.of(row("a", 0.5), [(1.0, 2.0)])


def test_a_bank_decodes_once_and_leaves_out_what_is_silent_or_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tone = 0.5 * np.sin(np.arange(2 * RATE) / 10)
    soundfile.write(tmp_path / "tone.wav", tone, RATE)
    soundfile.write(tmp_path / "long.wav", np.tile(tone, 20), RATE)
    soundfile.write(tmp_path / "silent.wav", np.zeros(2 * RATE), RATE)
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    rows = [row("tone.wav"), row("long.wav", 1.0, 40.0), row("silent.wav"), row("broken.wav")]
    bank = ClipBank(rows, tmp_path)
    assert [clip.path for clip in bank.rows] == ["tone.wav", "long.wav"]
    np.testing.assert_allclose(bank.read("tone.wav"), tone, atol=2e-4)
    assert len(bank.read("long.wav")) == 31 * RATE  # 30 s after the row's start

    def decoded(*_: object) -> None:
        raise AssertionError("decoded twice")

    monkeypatch.setattr(clips, "load_audio", decoded)
    again = ClipBank(rows, tmp_path)
    assert again.rows == bank.rows
    np.testing.assert_array_equal(again.read("long.wav"), bank.read("long.wav"))


# Decodes a bank in two programs. Both find none; the second one begins to decode when the first one has its own, and
# stops in the midst of it until the first one has read all.
PROGRAM = """if True:
    import sys, time
    from pathlib import Path
    from sonopsis.data import clips
    from sonopsis.data.manifest import Row

    root, me = Path(sys.argv[1]), sys.argv[2]
    rows = [Row(p, 0.0, 2.0, ("Dog",), (), "p", f"p:{p}", "CC0", "train", p) for p in ("tone.wav", "other.wav")]

    def wait(name):
        while not (root / name).exists():
            time.sleep(0.01)

    decode, load = clips._decode, clips.load_audio

    def late(*arguments):
        (root / f"{me} began").touch()
        if me == "second":
            wait("first has its bank")
        else:
            wait("second began")
        decode(*arguments)

    def slow(path):
        if me == "second" and path.name == "other.wav":
            (root / "second decodes").touch()
            wait("first has read")
        return load(path)

    clips._decode, clips.load_audio = late, slow
    bank = clips.ClipBank(rows, root)
    (root / f"{me} has its bank").touch()
    if me == "first":
        wait("second decodes")
    print(*(float(abs(bank.read(p) - load(root / p)).max()) < 1e-3 for p in ("tone.wav", "other.wav")), len(bank.rows))
    (root / f"{me} has read").touch()
"""


def test_two_programs_that_decode_the_same_clips_do_not_disturb_each_other(tmp_path: Path) -> None:
    for number, name in enumerate(("tone.wav", "other.wav"), 1):
        soundfile.write(tmp_path / name, 0.5 * np.sin(np.arange(2 * RATE) / 10 / number), RATE)
    line = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    both = [subprocess.Popen([*line, me], stdout=subprocess.PIPE, text=True) for me in ("first", "second")]
    try:
        assert [program.communicate(timeout=60)[0].split() for program in both] == [["True", "True", "2"]] * 2
    finally:
        for program in both:
            program.kill()
    assert sorted(file.suffix for file in (tmp_path / "cache").iterdir()) == [".int16", ".json"]


def test_a_bank_that_could_not_be_decoded_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(clips, "load_audio", full)
    with pytest.raises(OSError, match="no space"):
        ClipBank([row("tone.wav")], tmp_path)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_bank_may_be_empty(tmp_path: Path) -> None:
    """As that of the validation clips of a run which has none."""
    assert ClipBank([], tmp_path).rows == []
    assert ClipBank([], tmp_path).rows == []  # from its files
