"""What a visitor of the page runs into: other things than one recording, a key, a lost service, a telephone."""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from selenium.webdriver.common.keys import Keys

DROP = """
const dataTransfer = new DataTransfer();
for (const [name, content] of arguments[0]) {
  const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
  dataTransfer.items.add(new File([bytes], name));
}
document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
"""
GONE = "The service cannot be reached. Is it still running?"


@pytest.fixture
def page(visit: Callable[[str], Any], answering: Any) -> Any:
    return visit(answering.address)


def test_of_several_files_the_first_is_opened_and_the_page_says_so(page: Any, sounds: Path) -> None:
    files = [sounds / "deep" / "tone.flac", sounds / "noise.wav"]
    page.run(DROP, [(file.name, base64.b64encode(file.read_bytes()).decode()) for file in files])
    page.until_done()
    assert page["name"].text == "tone.flac" and page["notes"].text.startswith("Only the first of the files is opened")
    page.open(sounds / "noise.wav")
    page.wait(lambda: page["name"].text == "noise.wav" and page["notes"].text == "")


def test_a_folder_is_not_taken_for_a_lost_service(page: Any, sounds: Path) -> None:
    page.open(sounds / "noise.wav")
    data = {"items": [], "files": [str(sounds / "deep")], "dragOperationsMask": 1}
    for step in ("dragEnter", "dragOver", "drop"):
        page.browser.execute_cdp_cmd("Input.dispatchDragEvent", {"type": step, "x": 200, "y": 100, "data": data})
    page.wait(lambda: page["error"].text)
    assert page["error"].text.startswith("deep cannot be read. Is it a folder")
    assert not page["listen"].is_displayed() and not page["heard"].is_displayed()


def test_an_empty_file_is_called_empty(page: Any, tmp_path: Path) -> None:
    (tmp_path / "none.wav").touch()
    page["file"].send_keys(str(tmp_path / "none.wav"))
    page.wait(lambda: page["error"].text)
    assert page["error"].text.startswith("none.wav is empty") and not page["listen"].is_displayed()


def test_the_same_file_can_be_chosen_again(page: Any, sounds: Path) -> None:
    page.open(sounds / "noise.wav")
    page.run("document.getElementById('status').textContent = ''")
    page.open(sounds / "noise.wav")


def test_what_the_service_warns_of_is_shown_once(page: Any, sounds: Path, tmp_path: Path) -> None:
    whole = (sounds / "noise.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(whole[:100_000])
    page.open(tmp_path / "cut.wav")
    assert page["notes"].text.count("the file ends after") == 1 and page["notes"].aria_role == "status"


def test_a_key_is_asked_for_and_what_was_opened_goes_on(
    visit: Callable[[str], Any], start: Callable[..., Any], answering_model: Path, sounds: Path
) -> None:
    page = visit(start("--model", answering_model, SONOPSIS_API_KEY="secret").address)
    page["file"].send_keys(str(sounds / "noise.wav"))
    page.wait(lambda: page["key"].is_displayed())
    assert page["error"].text.startswith("This service asks for a key.")
    assert page.browser.switch_to.active_element == page["secret"]
    page.press("wrong", Keys.ENTER)
    page.wait(lambda: page["error"].text.startswith("The service does not know this key."))
    assert page.browser.switch_to.active_element == page["secret"]
    page["secret"].clear()
    page["secret"].send_keys("secret", Keys.ENTER)
    page.wait(lambda: page["status"].text.startswith("Done"))
    assert page["error"].text == "" and not page["key"].is_displayed() and page["heard"].is_displayed()


@pytest.mark.slow
def test_a_service_that_is_lost_is_named_and_what_was_heard_stays(
    visit: Callable[[str], Any], start: Callable[..., Any], answering_model: Path, tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "long.wav", 0.1 * np.random.default_rng(0).standard_normal(600 * 8_000), 8_000)
    service = start("--model", answering_model, "--workers", 1)
    page = visit(service.address)
    page["file"].send_keys(str(tmp_path / "long.wav"))
    page.wait(lambda: len(page.all("#captions li")) > 1)
    service.process.kill()
    page.wait(lambda: page["error"].text)
    assert page["error"].text == GONE and page["status"].text == "" and not page["progress"].is_displayed()
    assert len(page.all("#captions li")) > 1 and page["play"].is_enabled()
    page.run("document.getElementById('error').textContent = ''")
    page["after"].click()  # another window, whose picture cannot be had
    page.wait(lambda: page["error"].text)
    assert page["error"].text == GONE


def test_a_file_can_be_opened_while_the_microphone_is_recorded(page: Any, sounds: Path) -> None:
    page["record"].click()
    page.wait(lambda: page["taken"].text.startswith("0:01"))
    page.open(sounds / "noise.wav")
    before = page["taken"].text
    page.wait(lambda: page["taken"].text > before)
    assert page["status"].text == "Done: 0:06.0 of sound." and page["record"].text == "Stop"
    page["play"].click()
    page["record"].click()
    page.wait(lambda: page["name"].text == "recording.wav")
    page.until_done()


def test_recording_begins_in_silence(page: Any, sounds: Path) -> None:
    page.open(sounds / "noise.wav")
    page["play"].click()
    page.wait(lambda: page["play"].text == "Pause")
    page["record"].click()
    page.wait(lambda: page["record"].text == "Stop")
    assert page.run("const sound = document.getElementById('sound'); return sound.paused && !sound.ended")
    page["record"].click()
    page.until_done()


def test_the_space_bar_scrolls_where_there_is_nothing_to_play(page: Any, sounds: Path) -> None:
    pressed = (
        "const event = new KeyboardEvent('keydown', { key: ' ', bubbles: true, cancelable: true });"
        "document.body.dispatchEvent(event); return event.defaultPrevented"
    )
    assert not page.run(pressed)
    page.open(sounds / "noise.wav")
    assert page.run(pressed)


def test_questions_and_the_key_fit_a_phone(page: Any, sounds: Path, resize: Callable[[int, int], None]) -> None:
    resize(390, 844)
    page.open(sounds / "noise.wav")
    page["question"].send_keys("is there a dog?", Keys.ENTER)
    page.wait(lambda: page.all("#answers dd"))
    page.run("document.getElementById('key').hidden = false")
    assert page.run("return document.documentElement.scrollWidth") <= 390
    for name in ("question", "secret", "position", "keep"):
        box = page[name].rect
        assert box["width"] >= 100 and box["x"] + box["width"] <= 390
    page.run(
        "for (let row = 0; row < 100; row += 1) {"
        "  document.getElementById('answers').append(document.createElement('dd'));"
        "  document.getElementById('answers').lastChild.textContent = 'yes';"
        "}"
    )
    assert page["answers"].rect["height"] < 844  # many answers scroll in their own place
