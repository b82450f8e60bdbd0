"""What the browser plays of a recording, and the length that the page shows for it."""

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

# Records the microphone for about a second as other pages do, and resolves to the file as base64.
RECORD = """
const done = arguments[0];
navigator.mediaDevices.getUserMedia({ audio: true }).then((stream) => {
  const recorder = new MediaRecorder(stream, { mimeType: "audio/webm" });
  recorder.ondataavailable = ({ data }) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result.split(",")[1]);
    reader.readAsDataURL(data);
  };
  recorder.onstop = () => stream.getTracks().forEach((track) => track.stop());
  recorder.start();
  setTimeout(() => recorder.stop(), 1500);
});
"""


@pytest.fixture
def page(visit: Callable[[str], Any], address: str) -> Any:
    return visit(address)


class Pipe(io.RawIOBase):
    """An output that cannot seek, so that no header can be mended at the end."""

    def __init__(self) -> None:
        self.content = bytearray()

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def write(self, data: Any) -> int:
        self.content += bytes(data)
        return len(data)


def encoded(format: str, codec: str, seconds: float = 6.0, rate: int = 48_000) -> bytes:
    """A tone in a format of FFmpeg, written to a pipe."""
    av = pytest.importorskip("av")
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)
    pipe = Pipe()
    with av.open(pipe, "w", format=format) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(tone.astype(np.float32)[None], format="flt", layout="mono")
        frame.sample_rate = rate
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return bytes(pipe.content)


def seconds(clock: str) -> float:
    """A clock as `0:06.0`, in seconds."""
    minutes, rest = clock.split(":")
    return 60 * int(minutes) + float(rest)


def test_a_webm_without_a_duration_can_be_played(page: Any, tmp_path: Path) -> None:
    file = tmp_path / "live.webm"
    file.write_bytes(encoded("webm", "libopus"))
    page.open(file)
    assert page.run("return String(document.getElementById('sound').duration)") == "Infinity"  # it is such a file
    assert page["status"].text == "Done: 0:06.0 of sound." and page["clock"].text == "0:00.0 / 0:06.0"
    assert page["waveform"].is_displayed() and page["play"].is_enabled()
    page.seek(5)
    assert page["clock"].text == "0:05.0 / 0:06.0"
    position = "return document.getElementById('sound').currentTime"
    page.wait(lambda: page.run(position) == 5)
    page["play"].click()
    page.wait(lambda: page.run("return document.getElementById('sound').ended"))
    page.wait(lambda: page["clock"].text == "0:06.0 / 0:06.0" and page["play"].text == "Play")


def test_what_a_browser_has_recorded_can_be_played(page: Any, tmp_path: Path) -> None:
    file = tmp_path / "browser.webm"
    file.write_bytes(base64.b64decode(page.browser.execute_async_script(RECORD)))
    page.open(file)
    assert page["play"].is_enabled() and "cannot play" not in page["status"].text
    heard = page["status"].text.removeprefix("Done: ").removesuffix(" of sound.")
    assert seconds(page["clock"].text.split(" / ")[1]) == pytest.approx(seconds(heard), abs=0.15)
