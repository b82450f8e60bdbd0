"""How recordings come into the page, in a real browser: dropped, recorded, refused; and with a key."""

import base64
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

DROP = """
const bytes = Uint8Array.from(atob(arguments[0]), (letter) => letter.charCodeAt(0));
const dataTransfer = new DataTransfer();
dataTransfer.items.add(new File([bytes], "tone.flac"));
for (const name of ["dragover", "drop"]) {
  document.body.dispatchEvent(new DragEvent(name, { dataTransfer, bubbles: true, cancelable: true }));
}
"""


@pytest.fixture
def page(visit: Callable[[str], Any], address: str) -> Any:
    return visit(address)


def test_a_recording_can_be_dropped(page: Any, sounds: Path) -> None:
    content = (sounds / "deep" / "tone.flac").read_bytes()
    page.run(DROP, base64.b64encode(content).decode())
    page.until_done()
    assert page["name"].text == "tone.flac" and page["clock"].text.endswith("0:01.0")
    assert len(page.all("#captions li")) == 1


def test_the_microphone_can_be_recorded(page: Any) -> None:
    page["record"].click()
    page.wait(lambda: page["status"].text.startswith("Recording, 0:02"))
    assert page["record"].text == "Stop"
    page["record"].click()
    page.until_done()
    assert page["name"].text == "recording.wav" and page["record"].text == "Record"
    assert 2 <= float(page["clock"].text.removeprefix("0:00.0 / 0:")) < 20
    levels = page.pixels()[:, :, :3].sum(axis=2)
    assert levels.max() - levels.min() > 300  # the browser's beeps, not silence


def test_what_is_no_recording_is_refused_in_the_words_of_the_service(page: Any, sounds: Path) -> None:
    page["file"].send_keys(str(sounds / "notes.txt"))
    page.wait(lambda: page["error"].text)
    assert page["error"].text.startswith("notes.txt: ") and "WAV" in page["error"].text
    assert page["error"].aria_role == "alert" and not page["heard"].is_displayed()
    page.open(sounds / "deep" / "tone.flac")  # the page goes on
    assert page["heard"].is_displayed()


def test_silence_is_called_silence(page: Any, sounds: Path) -> None:
    page.open(sounds / "deep" / "silence.ogg")
    assert page["now"].text == "Silence." and page["events"].text == "No event was clear enough."


def test_a_service_without_answers_offers_no_questions(page: Any, sounds: Path) -> None:
    page.open(sounds / "deep" / "tone.flac")
    assert not page["asking"].is_displayed()


def test_a_second_recording_replaces_the_first(page: Any, sounds: Path) -> None:
    page["file"].send_keys(str(sounds / "noise.wav"))
    page.open(sounds / "deep" / "tone.flac")
    page.wait(lambda: page["name"].text == "tone.flac" and page["status"].text == "Done: 0:01.0 of sound.")
    assert len(page.all("#captions li")) == 1 and re.fullmatch(r"0:0\d\.\d / 0:01\.0", page["clock"].text)
