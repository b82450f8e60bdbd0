"""What FFmpeg reads, through PyAV: codecs, videos, the time line of a container, and what there is without it."""

import io
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from sonopsis.audio import (
    MEDIA_SUFFIXES,
    SAMPLE_RATE,
    SUFFIXES,
    AudioError,
    declared_duration,
    iter_windows,
    load_audio,
    probe,
)
from sonopsis.audio.source import Watched

av = pytest.importorskip("av", reason="needs PyAV: pip install 'sonopsis[media]'")

# Suffix, FFmpeg's container, encoder and rate.
KINDS = [
    ("m4a", "ipod", "aac", 44_100),
    ("mp4", "mp4", "aac", 48_000),
    ("aac", "adts", "aac", 22_050),
    ("webm", "webm", "libopus", 48_000),
    ("mkv", "matroska", "flac", 32_000),
    ("wma", "asf", "wmav2", 44_100),
    ("amr", "amr", "libopencore_amrnb", 8_000),
    ("ac3", "ac3", "ac3", 48_000),
    ("ts", "mpegts", "aac", 48_000),
]


def tone(seconds: float, rate: int, hertz: float = 440.0) -> NDArray[np.float32]:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


class Pipe:
    """An output that cannot seek: what a container says of its duration is written there too late."""

    def __init__(self, file: io.BytesIO) -> None:
        self.write = file.write


def coded(
    container: str,
    codec: str,
    rate: int,
    samples: NDArray[np.float32],
    *,
    start: float = 0.0,
    picture: str | None = None,
    pipe: bool = False,
    options: Mapping[str, str] | None = None,
) -> bytes:
    """Mono samples in a container, from `start` seconds on, beside two pictures from 0 on if their codec is named."""
    file = io.BytesIO()
    target: Any = Pipe(file) if pipe else file
    with av.open(target, "w", format=container, options=dict(options or {})) as output:
        video: Any = output.add_stream(picture, rate=1) if picture else None
        if video is not None:
            video.width = video.height = 16
            video.pix_fmt = "yuv420p"
        stream = output.add_stream(codec, rate=rate)
        stream.layout = "mono"
        if codec == "wmav2":  # it has no rate of its own
            stream.bit_rate = 64_000
        if video is not None:
            for second in range(2):
                image = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
                image.pts = second
                output.mux(video.encode(image))
            output.mux(video.encode())
        formats = [found.name for found in stream.codec.audio_formats]
        resampler = av.AudioResampler(format=formats[0], layout="mono", rate=rate)
        frame = av.AudioFrame.from_ndarray(samples[None], format="flt", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, round(start * rate), Fraction(1, rate)
        for part in resampler.resample(frame):
            output.mux(stream.encode(part))
        output.mux(stream.encode())
    return file.getvalue()


def pitch(samples: NDArray[np.float32]) -> float:
    """Hz of the strongest frequency."""
    return float(np.abs(np.fft.rfft(samples)).argmax() * SAMPLE_RATE / len(samples))


@pytest.mark.parametrize(("suffix", "container", "codec", "rate"), KINDS, ids=[kind[0] for kind in KINDS])
def test_every_kind_is_read(tmp_path: Path, suffix: str, container: str, codec: str, rate: int) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"this FFmpeg has no encoder {codec}")
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(coded(container, codec, rate, tone(3.0, rate)))
    heard = load_audio(path)
    assert len(heard) / SAMPLE_RATE == pytest.approx(3.0, abs=0.15)  # some codecs have no way to say their padding
    assert pitch(heard[8_000:40_000]) == pytest.approx(440, abs=1)
    assert heard[8_000:40_000].std() == pytest.approx(0.354, rel=0.2)
    info = probe(path)
    assert (info.sample_rate, info.channels) == (rate, 1)
    assert info.duration == pytest.approx(len(heard) / SAMPLE_RATE, abs=1e-3)
    windows = [found.samples for found in iter_windows(io.BytesIO(path.read_bytes()), window=1.0)]
    np.testing.assert_array_equal(np.concatenate(windows), heard)
    assert path.suffix in MEDIA_SUFFIXES - SUFFIXES


@pytest.mark.parametrize("kind", ["m4a", "wav"])
def test_who_watches_a_file_can_end_its_decoding(tmp_path: Path, kind: str) -> None:
    path, heard = tmp_path / f"a.{kind}", list[float]()
    if kind == "m4a":
        path.write_bytes(coded("ipod", "aac", 16_000, tone(60.0, 16_000)))
    else:
        soundfile.write(path, tone(60.0, 16_000), 16_000)

    def watch(seconds: float) -> None:
        heard.append(seconds)
        if seconds > 10:
            raise InterruptedError("enough")

    watched = Watched(str(path), watch)
    readers: list[Callable[[], object]] = [lambda: load_audio(watched), lambda: list(iter_windows(watched, window=1.0))]
    readers += [lambda: probe(watched)] if kind == "m4a" else []
    for read in readers:
        heard.clear()
        with pytest.raises(InterruptedError, match="enough"):
            read()
        assert heard == sorted(heard) and 10 < heard[-1] < 15
    assert declared_duration(watched) == pytest.approx(60.0, abs=0.1)


@pytest.mark.parametrize("container", ["matroska", "mp4"])
def test_sound_that_begins_after_the_picture_is_heard_at_its_time(container: str) -> None:
    content = coded(container, "aac", 16_000, tone(3.0, 16_000), start=4.0, picture="mpeg4")
    heard = load_audio(io.BytesIO(content))
    assert len(heard) / SAMPLE_RATE == pytest.approx(7.0, abs=0.15)
    assert not heard[: round(3.8 * SAMPLE_RATE)].any()
    assert np.abs(heard[round(4.2 * SAMPLE_RATE) : round(6.8 * SAMPLE_RATE)]).max() > 0.4


@pytest.mark.parametrize(
    ("container", "codec", "picture"), [("matroska", "aac", "mpeg4"), ("webm", "libopus", "libvpx")]
)
def test_a_container_without_a_duration_keeps_its_times(container: str, codec: str, picture: str) -> None:
    if missing := {codec, picture} - av.codecs_available:
        pytest.skip(f"this FFmpeg has no {', '.join(missing)}")
    content = coded(container, codec, 48_000, tone(3.0, 48_000), start=5.0, picture=picture, pipe=True)
    with av.open(io.BytesIO(content)) as opened:
        assert not opened.duration
    heard = load_audio(io.BytesIO(content))
    assert len(heard) / SAMPLE_RATE == pytest.approx(8.0, abs=0.15)
    assert not heard[: round(4.8 * SAMPLE_RATE)].any()
    assert np.abs(heard[round(5.2 * SAMPLE_RATE) : round(7.8 * SAMPLE_RATE)]).max() > 0.4


def test_sound_that_begins_after_hours_is_heard_at_its_time() -> None:
    content = coded("matroska", "aac", 8_000, tone(3.0, 8_000), start=4_000.0, picture="mpeg4", pipe=True)
    loud = [found.start for found in iter_windows(io.BytesIO(content), window=1.0) if found.samples.any()]
    assert loud[0] == pytest.approx(4_000, abs=1) and loud[-1] == pytest.approx(4_002, abs=1)


@pytest.mark.parametrize(("first", "seconds", "warning"), [(-1, 4.0, ": its times jump by 6 s"), (40, 10.0, "")])
def test_a_time_that_nothing_follows_is_no_gap(
    first: int, seconds: float, warning: str, caplog: pytest.LogCaptureFixture
) -> None:
    content = retimed(coded("matroska", "aac", 16_000, tone(4.0, 16_000)), first, 6.0)
    with caplog.at_level(logging.WARNING, "sonopsis.audio"):
        assert len(load_audio(io.BytesIO(content))) / SAMPLE_RATE == pytest.approx(seconds, abs=0.15)
    assert len(caplog.messages) == bool(warning) and warning in caplog.text


def test_times_that_are_days_apart_are_no_gap(caplog: pytest.LogCaptureFixture) -> None:
    content = retimed(coded("matroska", "aac", 16_000, tone(4.0, 16_000)), 40, 900_000.0)
    with caplog.at_level(logging.WARNING, "sonopsis.audio"):
        assert len(load_audio(io.BytesIO(content))) / SAMPLE_RATE == pytest.approx(4.0, abs=0.15)
    assert len(caplog.messages) == 1 and "jump by 900000 s" in caplog.text


def retimed(content: bytes, first: int, seconds: float) -> bytes:
    """The sound of a Matroska file in one without a duration; its packets from number `first` on come later."""
    file = io.BytesIO()
    target: Any = Pipe(file)
    with av.open(io.BytesIO(content)) as source, av.open(target, "w", format="matroska") as output:
        copied = output.add_stream_from_template(source.streams.audio[0])
        packets = [packet for packet in source.demux(source.streams.audio[0]) if packet.dts is not None]
        for packet in packets[first:]:
            packet.pts += round(seconds / packet.time_base)
            packet.dts = packet.pts
        for packet in packets:
            packet.stream = copied
            output.mux(packet)
    return file.getvalue()


def test_a_picture_alone_is_no_recording() -> None:
    content = coded("matroska", "aac", 16_000, tone(2.0, 16_000), picture="mpeg4")
    silent = io.BytesIO()
    with av.open(io.BytesIO(content)) as source, av.open(silent, "w", format="matroska") as target:
        copied = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = copied
                target.mux(packet)
    with pytest.raises(AudioError, match="holds no sound, only pictures"):
        load_audio(silent)


def test_sound_of_no_known_kind_is_an_error_of_the_file() -> None:
    stream = io.BytesIO()
    soundfile.write(stream, tone(1.0, 16_000), 16_000, format="WAV")
    damaged = bytearray(stream.getvalue())
    damaged[20] = 20  # the format of the samples
    with pytest.raises(AudioError):
        load_audio(io.BytesIO(bytes(damaged)))


@pytest.mark.parametrize("share", [0.01, 0.6])
def test_a_cut_off_file_is_read_as_far_as_it_goes(share: float) -> None:
    content = coded("matroska", "aac", 16_000, tone(20.0, 16_000))
    try:
        heard = load_audio(io.BytesIO(content[: int(share * len(content))]))
    except AudioError as error:
        assert share < 0.1 and len(str(error).splitlines()) == 1
    else:
        assert 0 < len(heard) / SAMPLE_RATE < 20 * share + 2


def test_damaged_packets_are_left_out_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    content = bytearray(coded("adts", "aac", 16_000, tone(20.0, 16_000)))
    noise = np.random.default_rng(0).integers(0, 256, 400, np.uint8).tobytes()
    content[len(content) // 2 : len(content) // 2 + 400] = noise
    with caplog.at_level(logging.WARNING, "sonopsis.audio"):
        heard = load_audio(io.BytesIO(bytes(content)))
    assert len(heard) / SAMPLE_RATE > 15
    assert pitch(heard[16_000:64_000]) == pytest.approx(440, abs=1)


@pytest.mark.parametrize(
    ("container", "codec", "rate"), [("mp4", "aac", 48_000), ("webm", "libopus", 48_000), ("ipod", "aac", 44_100)]
)
def test_a_container_says_how_long_it_lasts(container: str, codec: str, rate: int) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"this FFmpeg has no encoder {codec}")
    content = coded(container, codec, rate, tone(3.0, rate))
    assert declared_duration(io.BytesIO(content)) == pytest.approx(3.0, abs=0.15)
    streamed = coded("matroska", "aac", 16_000, tone(3.0, 16_000), pipe=True)
    assert declared_duration(io.BytesIO(streamed)) is None


@pytest.mark.parametrize("joined", [False, True])
def test_only_who_listens_is_warned_and_once(joined: bool, caplog: pytest.LogCaptureFixture) -> None:
    if joined:
        soundfile.write(whole := io.BytesIO(), tone(1.0, 16_000), 16_000, format="FLAC")
        content = whole.getvalue() + b"fLaC\0\0\0\x22" + bytes(200)
    else:
        fragments = {"movflags": "frag_keyframe+empty_moov", "frag_duration": "1000000"}
        content = coded("mp4", "aac", 16_000, tone(20.0, 16_000), options=fragments)
        content = content[: round(0.55 * len(content))]
    file = io.BytesIO(content)
    with caplog.at_level(logging.WARNING, "sonopsis.audio"):
        assert probe(file).duration == pytest.approx(1.0 if joined else 11.0, abs=1.0)
        declared_duration(file)
        assert caplog.messages == []
        load_audio(file)
        list(iter_windows(file, window=5.0))
    assert len(caplog.messages) == 2 * len(set(caplog.messages)) > 0


def test_a_playlist_opens_no_other_file(tmp_path: Path) -> None:
    (tmp_path / "secret.ts").write_bytes(coded("mpegts", "aac", 16_000, tone(2.0, 16_000)))
    lists: Sequence[str] = (
        f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{tmp_path}/secret.ts\n#EXT-X-ENDLIST\n",
        f"ffconcat version 1.0\nfile '{tmp_path}/secret.ts'\n",
    )
    for text in lists:
        (tmp_path / "a.m4a").write_text(text)
        with pytest.raises(AudioError, match="not a recording that can be read"):
            load_audio(tmp_path / "a.m4a")


@pytest.mark.parametrize(("suffix", "container", "codec", "rate"), KINDS[:6], ids=[kind[0] for kind in KINDS[:6]])
def test_without_pyav_one_line_names_it(
    monkeypatch: pytest.MonkeyPatch, suffix: str, container: str, codec: str, rate: int
) -> None:
    content = coded(container, codec, rate, tone(1.0, rate))
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(AudioError, match=r"<stream>: needs PyAV: pip install 'sonopsis\[media\]'"):
        load_audio(io.BytesIO(content))
