"""MP3 files of variable rate are read to their end, though they do not say how long they are."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sonopsis.audio import load_audio, mp3, probe
from sonopsis.audio.excerpt import Piece
from sonopsis.audio.joined import pieces
from sonopsis.audio.mp3 import Tries, frame_length, stretches
from sonopsis.audio.source import Watched

DELAY = 576  # samples that the decoder gives before the first when no length says to leave them out
RATES = [8_000, 16_000, 22_050, 44_100]  # MPEG-2.5, 2, 2 and 1


def variable(rate: int, channels: int, seconds: float = 12.0) -> tuple[bytes, bytes]:
    """A quiet tone, then noise, as MP3 of variable rate; and the same without the frame that says its length."""
    samples = np.random.default_rng(0).standard_normal((round(seconds * rate), channels)) * 0.2
    tone = 0.01 * np.sin(np.arange(len(samples) // 2) * 0.1)
    samples[: len(tone)] = tone[:, None]
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="MP3", bitrate_mode="VARIABLE", compression_level=0.5)
    content = file.getvalue()
    length = frame_length(content[:4])
    assert length is not None and (b"Xing" in content[:length] or b"Info" in content[:length])
    return content, content[length:]


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", RATES)
def test_a_file_without_its_length_is_read_to_its_end(rate: int, channels: int) -> None:
    whole, without = variable(rate, channels)
    seconds = probe(io.BytesIO(whole)).duration
    assert soundfile.info(io.BytesIO(without)).duration != pytest.approx(seconds, abs=1)  # what is put right here
    assert probe(io.BytesIO(without)).duration == pytest.approx(seconds, abs=0.3)
    assert len(load_audio(io.BytesIO(without))) == pytest.approx(16_000 * seconds, abs=4_800)


def test_its_samples_are_those_of_the_file_with_a_length() -> None:
    whole, without = variable(16_000, 1)
    expected, heard = load_audio(io.BytesIO(whole)), load_audio(io.BytesIO(without))
    np.testing.assert_allclose(heard[DELAY + 2_000 : DELAY + 180_000], expected[2_000:180_000], atol=0.02)


@pytest.mark.parametrize("gap", [300, 5_000, 3_000_000])
def test_a_tag_before_it_and_bytes_between_its_frames_do_not_shorten_it(
    gap: int, caplog: pytest.LogCaptureFixture
) -> None:
    whole, without = variable(44_100, 1)
    for content in (whole, without):
        cut = 0
        for _ in range(40):
            cut += frame_length(content[cut : cut + 4]) or 0
        broken = content[:cut] + bytes(gap) + content[cut:]
        caplog.clear()
        heard = load_audio(io.BytesIO(b"ID3\x04\0\0\0\0\0\x05title" + broken))
        assert len(heard) == pytest.approx(16_000 * 12, abs=4_800)
        assert (f"{gap} bytes in it are no sound" in caplog.text) == (gap > 1_000)


def test_of_many_places_a_few_are_named_and_the_others_counted(caplog: pytest.LogCaptureFixture) -> None:
    whole, _ = variable(16_000, 1, seconds=4.0)
    broken, place = b"", 0
    while place < len(whole):
        first = place
        for _ in range(10):
            place += frame_length(whole[place : place + 4]) or len(whole)
        broken += whole[first:place] + bytes(2_000)
    gaps = broken.count(bytes(2_000)) - 1  # behind the last frame nothing is missing
    load_audio(io.BytesIO(broken))
    told = [record.getMessage() for record in caplog.records]
    assert sum("2000 bytes in it are no sound" in line for line in told) == 3
    assert told[-1].endswith(f": {gaps - 3} more such places in it are not listed")


@pytest.mark.parametrize("noise", [np.random.default_rng(0).bytes(300_000), b"\xff" * 300_000])
def test_bytes_behind_its_frames_are_no_recording(noise: bytes) -> None:
    _, without = variable(44_100, 1, seconds=2.0)
    assert len(load_audio(io.BytesIO(without + noise))) == len(load_audio(io.BytesIO(without)))


class Counted(io.BytesIO):
    """A file that knows how often it was read, and how many bytes."""

    reads = taken = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.reads, self.taken = self.reads + 1, self.taken + len(data)
        return data


def test_a_search_for_frames_passes_over_ones() -> None:
    _, without = variable(44_100, 1, seconds=2.0)
    file = Counted(without + b"\xff" * 300_000)
    assert stretches(file, Piece(0, len(without) + 300_000), Tries()) != []
    assert file.reads < 100  # one for each of these bytes would take a second for each megabyte


def test_the_frame_that_says_the_length_of_a_file_is_no_sound_of_its_first_stretch() -> None:
    whole, without = variable(44_100, 1)
    cut = 0
    for _ in range(40):
        cut += frame_length(without[cut : cut + 4]) or 0
    before = len(whole) - len(without)
    of_whole, of_other = (
        load_audio(io.BytesIO(content[:place] + bytes(5_000) + content[place:]))
        for content, place in ((whole, before + cut), (without, cut))
    )
    assert np.array_equal(of_whole, of_other)


def test_joined_files_without_lengths_are_one_recording_read_to_its_end() -> None:
    _, without = variable(44_100, 1, seconds=6.0)
    heard = load_audio(io.BytesIO(without + without))
    assert len(heard) == pytest.approx(16_000 * 12, abs=4_800)
    assert np.sqrt(np.mean(heard[-32_000:] ** 2)) > 0.1  # the noise at the end of the second one


TAG = b"ID3\x04\0\0\0\0\0\x05title"
HEADER = bytes.fromhex("fffb9000")  # of a frame of 417 bytes, 128 kbit/s at 44.1 kHz


@pytest.mark.parametrize("junk", [b"\xff\xfb", bytes.fromhex("fffbf000"), bytes.fromhex("fffb9c00")])
def test_what_no_frame_begins_with_is_passed_over(junk: bytes) -> None:
    file = Counted(TAG + junk * (1_000_000 // len(junk)))
    assert len(pieces(file)) == 1
    assert file.reads < 100


@pytest.mark.parametrize("junk", [HEADER, b"ID3.", b"Info", TAG])
def test_a_search_ends_after_many_places_at_which_nothing_begins(junk: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mp3, "MOST_TRIES", 500)
    file = Counted(TAG + junk * (200_000 // len(junk)))
    (piece,) = pieces(file)
    assert (piece.start, piece.end) == (0, len(file.getvalue()))
    assert "places in it look like sound and are none" in piece.note
    assert file.reads < 6 * 500


def test_frames_in_front_of_too_many_such_places_are_heard(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(mp3, "MOST_TRIES", 500)
    _, without = variable(44_100, 1, seconds=2.0)
    heard = load_audio(io.BytesIO(without + HEADER * 5_000))
    assert len(heard) == pytest.approx(len(load_audio(io.BytesIO(without))), abs=1_600)
    assert "places in it look like sound and are none" in caplog.text


def test_frames_with_much_between_them_are_not_searched_a_whole_chunk_at_a_time() -> None:
    frame = bytes.fromhex("fff31000").ljust(frame_length(bytes.fromhex("fff31000")) or 0, b"\0")
    file = Counted((4 * frame + bytes(1_200)) * 500)
    assert len(pieces(file)) == 500
    assert file.taken < 100 * len(file.getvalue())


def test_who_watches_a_file_can_end_the_search_in_it(tmp_path: Path) -> None:
    (tmp_path / "a.mp3").write_bytes(TAG + HEADER * 1_000)

    def watch(seconds: float) -> None:
        raise InterruptedError("enough")

    with pytest.raises(InterruptedError, match="enough"):
        probe(Watched(str(tmp_path / "a.mp3"), watch))
