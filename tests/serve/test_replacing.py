"""A new recording on the page: nothing of the one before stays, and nothing of it comes later."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile
from selenium.webdriver.common.keys import Keys

# Holds back the first answer whose path begins with arguments[0] until `let()` is called; `held`: it is there.
HOLD = """
const [path] = arguments;
const real = window.fetch;
let first = true;
window.held = false;
window.fetch = async (asked, options) => {
  const answer = await real(asked, options && { ...options, signal: undefined });
  if (!first || !String(asked).startsWith(path)) return answer;
  first = false;
  const text = await answer.blob();
  window.held = true;
  await new Promise((resolve) => { window.let = resolve; });
  return new Response(text, { status: answer.status, headers: answer.headers });
};
"""
# Resolves when the page has done all that it does at once.
SETTLED = "setTimeout(arguments[0], 300)"


@pytest.fixture
def page(visit: Callable[[str], Any], answering: Any) -> Any:
    return visit(answering.address)


@pytest.fixture
def second(sounds: Path) -> Path:
    """One second of a tone; noise.wav, which is opened before it, lasts for six."""
    return sounds / "deep" / "tone.flac"


def hold(page: Any, path: str) -> None:
    page.run(HOLD, path)


def until_held(page: Any) -> None:
    page.wait(lambda: page.run("return window.held"))


def let(page: Any) -> None:
    """Give the page the answer that was held back, and time to use it."""
    page.run("window.let()")
    page.browser.execute_async_script(SETTLED)


def open_second(page: Any, second: Path) -> None:
    """Open it, and wait for its end."""
    page["file"].send_keys(str(second))
    page.wait(lambda: page["name"].text == second.name and page["status"].text == "Done: 0:01.0 of sound.")


def of_the_second(page: Any) -> bool:
    """Whether all that is shown is of the second recording, which can be played."""
    return (
        page["name"].text == "tone.flac"
        and page["status"].text == "Done: 0:01.0 of sound."
        and page["error"].text == ""
        and page["clock"].text.endswith(" / 0:01.0")
        and page["play"].is_enabled()
        and page["waveform"].is_displayed()
        and page["span"].text.startswith("0:00.0 – 0:01.0")
        and len(page.all("#captions li")) == 1
    )


def test_answers_go_with_the_recording_that_was_asked_about(page: Any, sounds: Path, second: Path) -> None:
    page.open(sounds / "noise.wav")
    page["question"].send_keys("is there a dog?", Keys.ENTER)
    page.wait(lambda: page.all("#answers dd"))
    open_second(page, second)
    assert page["asking"].is_displayed() and page.all("#answers *") == []
    page["question"].send_keys("is there a cat?", Keys.ENTER)
    page.wait(lambda: page.all("#answers dd"))
    assert [term.text for term in page.all("#answers dt")] == ["is there a cat?"]


def test_an_answer_that_comes_too_late_is_not_shown(page: Any, sounds: Path, second: Path) -> None:
    page.open(sounds / "noise.wav")
    hold(page, "v1/ask")
    page["question"].send_keys("is there a dog?", Keys.ENTER)
    until_held(page)
    open_second(page, second)
    let(page)
    assert page.all("#answers *") == [] and of_the_second(page)
    page.wait(lambda: page.all("#ask button")[0].is_enabled())


def test_the_error_of_a_question_goes_with_the_next_one(page: Any, sounds: Path) -> None:
    page.open(sounds / "noise.wav")
    page.run(HOLD.replace("status: answer.status", "status: 500"), "v1/ask")
    page["question"].send_keys("is there a dog?", Keys.ENTER)
    until_held(page)
    let(page)
    page.wait(lambda: page["error"].text)
    assert page["status"].text == "Done: 0:06.0 of sound."  # of the recording, with which all is well
    assert page["question"].get_property("value") == "is there a dog?"
    page["question"].send_keys(Keys.ENTER)
    page.wait(lambda: page.all("#answers dd"))
    assert page["error"].text == ""


@pytest.mark.parametrize("path", ["blob:", "v1/patches", "v1/events", "v1/convert"])
def test_what_comes_late_of_the_recording_before_is_given_up(page: Any, sounds: Path, second: Path, path: str) -> None:
    hold(page, path)
    page["file"].send_keys(str(sounds / "noise.wav"))
    until_held(page)
    open_second(page, second)
    events = [event.get_attribute("aria-label") for event in page.all(".track button")]
    let(page)
    assert of_the_second(page)
    assert [event.get_attribute("aria-label") for event in page.all(".track button")] == events
    page.run(
        "const real = window.fetch;"
        "window.fetch = (path, options) => { window.sent = options.body; return real(path, options); }"
    )
    for button in page.all("#saving button"):
        page.run("window.sent = null")
        button.click()
        page.wait(lambda: page.run("return window.sent"))
        assert '"tone.flac"' in page.run("return window.sent") and "noise.wav" not in page.run("return window.sent")


def test_an_error_of_a_download_of_the_recording_before_is_not_shown(page: Any, sounds: Path, second: Path) -> None:
    page.open(sounds / "noise.wav")
    page.run(HOLD.replace("status: answer.status", "status: 500"), "v1/convert")
    page.all("#saving button")[0].click()
    until_held(page)
    open_second(page, second)
    let(page)
    assert of_the_second(page)


def test_a_recording_that_cannot_be_played_begins_at_its_start(page: Any, sounds: Path, tmp_path: Path) -> None:
    page.open(sounds / "noise.wav")
    page.seek(4)
    samples, rate = soundfile.read(sounds / "noise.wav")
    soundfile.write(tmp_path / "noise.aiff", samples, rate)
    page["file"].send_keys(str(tmp_path / "noise.aiff"))
    page.wait(lambda: page["name"].text == "noise.aiff" and page["status"].text.startswith("Done"))
    assert page["status"].text == "Done: 0:06.0 of sound. This browser cannot play this format."
    assert page["clock"].text == "0:00.0 / 0:06.0" and page["span"].text.startswith("0:00.0 –")
    assert page["now"].text and page["now"].text in page.all("#captions li")[0].text
    page.all("#captions button")[2].click()
    page.wait(lambda: page["span"].text.startswith("0:05.1"))
    assert page["clock"].text == "0:05.1 / 0:06.0"
