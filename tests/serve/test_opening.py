"""How recordings come into the page, in a real browser: dropped, recorded, refused; and with a key."""

import base64
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sonopsis.model import Model

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
    page.wait(lambda: page["taken"].text.startswith("0:02"))
    assert page["record"].text == "Stop"
    page["record"].click()
    page.until_done()
    assert page["name"].text == "recording.wav" and page["record"].text == "Record" and page["taken"].text == ""
    assert 2 <= float(page["clock"].text.removeprefix("0:00.0 / 0:")) < 20
    levels = page.pixels()[:, :, :3].sum(axis=2)
    assert levels.max() - levels.min() > 300  # the browser's beeps, not silence


WITHOUT_CAPTURE = """
AudioWorklet.prototype.addModule = () => Promise.reject(new Error("capture.js cannot be fetched"));
const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
navigator.mediaDevices.getUserMedia = async (what) => (window.asked = await ask(what));
const Context = window.AudioContext;
window.AudioContext = class extends Context { constructor() { super(); window.made = this; } };
"""
MICROPHONE = "return [window.asked.getTracks().map((track) => track.readyState), window.made.state]"


def test_a_microphone_that_cannot_be_recorded_is_switched_off(page: Any) -> None:
    page.run(WITHOUT_CAPTURE)
    page["record"].click()
    page.wait(lambda: page["error"].text)
    assert "The microphone cannot be used: capture.js cannot be fetched" in page["error"].text
    assert page.run(MICROPHONE) == [["ended"], "closed"]
    assert page["record"].text == "Record" and page["record"].is_enabled()


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


# Gives the page what the service answers one event at a time: the next one when `release()` is called.
GATED = """
const real = window.fetch;
window.fetch = async (path, options) => {
  const answer = await real(path, options);
  if (!String(path).startsWith("v1/events")) return answer;
  const blocks = (await answer.text()).split("\\n\\n").filter((block) => block.trim());
  const encoder = new TextEncoder();
  const body = new ReadableStream({ start(controller) {
    window.release = (count) => {
      for (const block of blocks.splice(0, count)) controller.enqueue(encoder.encode(`${block}\\n\\n`));
      if (!blocks.length) controller.close();
    };
  } });
  window.release.waiting = blocks.length;
  return new Response(body, { status: answer.status, headers: answer.headers });
};
window.release = {};
"""


def test_what_was_heard_is_shown_while_the_rest_is_heard(page: Any, sounds: Path) -> None:
    page.run(GATED)
    page["file"].send_keys(str(sounds / "noise.wav"))
    waiting = "return window.release.waiting ?? 0"
    page.wait(lambda: page.run(waiting) > 0)
    assert page["progress"].is_displayed() and not page["heard"].is_displayed()
    page.run("release(1)")
    page.wait(lambda: page["heard"].is_displayed())
    share = "const { value, max } = document.getElementById('progress'); return [value, max]"
    assert len(page.all("#captions li")) == 1 and page.run(share) == [2.56, 6]
    assert not page["saving"].is_displayed() and not page.all(".track button")
    page.run("release.waiting = 0; release(Infinity)")
    page.wait(lambda: page.run(waiting) > 0)  # the second time: events of short windows
    assert len(page.all("#captions li")) == 3 and not page.all(".track button")
    for _ in range(40):
        if page.all(".track button"):
            break
        page.run("release(1)")
        page.wait(lambda: True)
    assert page.all(".track button") and not page["saving"].is_displayed()
    page.run("release(Infinity)")
    page.until_done()
    assert page["saving"].is_displayed() and not page["progress"].is_displayed()


def test_an_error_in_the_midst_of_a_recording_is_shown(page: Any, sounds: Path) -> None:
    page.run(
        "const real = window.fetch;"
        "window.fetch = async (path, options) => String(path).startsWith('v1/events')"
        ' ? new Response(\'event: error\\ndata: {"error": {"code": "timeout", "message": "too late"}}\\n\\n\')'
        " : real(path, options);"
    )
    page["file"].send_keys(str(sounds / "noise.wav"))
    page.wait(lambda: page["error"].text)
    assert page["error"].text == "too late" and not page["progress"].is_displayed()


def test_a_page_that_could_not_ask_what_the_service_does_asks_again(
    browser: Any, page: Any, model: Model, sounds: Path
) -> None:
    browser.execute_cdp_cmd("Network.enable", {})
    browser.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*openapi.json*"]})
    try:
        browser.refresh()
        page.wait(lambda: page["error"].text)
        assert page["error"].text == "The service cannot be reached. Is it still running?"
    finally:
        browser.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})
    page.open(sounds / "noise.wav")
    shown = [item.get_property("textContent") for item in page.all("#captions li > span")]
    captions = model.caption(sounds / "noise.wav")  # sentences, not the labels of a model that only tags
    assert all(caption.text in text for caption, text in zip(captions, shown, strict=True))
    assert not page["lacking"].is_displayed() and not page["progress"].is_displayed()
