"""--max-duration holds on every route that hears a recording, also where the header does not say how long it is."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from sonopsis.audio import declared_duration
from sonopsis.serve.bodies import Upload
from sonopsis.serve.desk import Place
from sonopsis.serve.errors import ServiceError
from sonopsis.serve.limits import check

ROUTES = [
    ("/v1/tag", {}),
    ("/v1/tag", {"format": "srt"}),
    ("/v1/caption", {}),
    ("/v1/ask", {"question": "is there a dog?"}),
    ("/v1/events", {}),
    ("/v1/patches", {"number": 1}),
]
LONGEST = 5  # seconds


def noise(seconds: float) -> Any:
    return (0.1 * np.random.default_rng(0).standard_normal(round(16_000 * seconds))).astype(np.float32)


def m4a(seconds: float) -> bytes:
    return coded(seconds, 0.0)


def stopped_flac(seconds: float) -> bytes:
    """As a recorder leaves it that was stopped: the header says nothing about the length."""
    file = io.BytesIO()
    soundfile.write(file, noise(seconds), 16_000, format="FLAC")
    content = bytearray(file.getvalue())
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    return bytes(content)


def two_wavs(seconds: float) -> bytes:
    """One recording that follows the other in the same file."""
    file = io.BytesIO()
    soundfile.write(file, noise(seconds / 2), 16_000, format="WAV")
    return 2 * file.getvalue()


def sent(path: Path, content: bytes) -> Upload:
    path.write_bytes(content)
    return Upload(path, path.name, Place())


def coded(seconds: float, quiet: float, format: str = "ipod") -> bytes:
    """AAC in a container: silence for `quiet` seconds, then noise."""
    av = pytest.importorskip("av", reason="needs PyAV: pip install 'sonopsis[media]'")
    file = io.BytesIO()
    with av.open(file, "w", format=format) as output:
        stream = output.add_stream("aac", rate=16_000, layout="mono")
        samples = noise(seconds)
        samples[: round(16_000 * quiet)] = 0
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate = 16_000
        output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return file.getvalue()


@pytest.fixture(scope="module")
def strict(answering_model: Path, running: Any) -> Iterator[Any]:
    with running("--model", answering_model, "--max-duration", LONGEST) as found:
        yield found


@pytest.mark.parametrize("made", [m4a, stopped_flac, two_wavs])
@pytest.mark.parametrize(("route", "query"), ROUTES)
def test_a_longer_recording_is_refused(strict: Any, route: str, query: dict[str, Any], made: Any) -> None:
    whole = strict.client.post(route, content=made(LONGEST - 0.5), params=query)
    assert whole.status_code == 200, whole.text
    for seconds in (LONGEST + 0.6, 30):
        answer = strict.client.post(route, content=made(seconds), params=query)
        if route == "/v1/events" and answer.status_code == 200:
            assert 'event: error\ndata: {"error": {"code": "too_long"' in answer.text
        else:
            assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_long"), answer.text
    assert [file for file in strict.temporary() if file.name.startswith("upload-")] == []


@pytest.mark.parametrize("format", ["ipod", "matroska", "asf"])
def test_what_says_that_it_is_longer_is_not_decoded(tmp_path: Path, format: str) -> None:
    check(sent(tmp_path / "short", coded(LONGEST, 0.0, format)), LONGEST)
    with pytest.raises(ServiceError) as refusal:
        check(sent(tmp_path / "long", coded(LONGEST + 1, 0.0, format)), LONGEST)
    assert (refusal.value.status, refusal.value.code) == (413, "too_long")


def test_a_duration_that_was_only_guessed_refuses_nothing(tmp_path: Path) -> None:
    upload = sent(tmp_path / "a.aac", coded(LONGEST, LONGEST - 1.5, "adts"))
    assert (declared_duration(upload.path) or 0) > LONGEST + 1  # by the bit rate of the silence in front
    check(upload, LONGEST)
