"""Clips decoded once, and where they sound."""

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


def test_a_bank_may_be_empty(tmp_path: Path) -> None:
    """As that of the validation clips of a run which has none."""
    assert ClipBank([], tmp_path).rows == []
    assert ClipBank([], tmp_path).rows == []  # from its files
