"""The page in a real browser, served by the real service with a small model."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from sonopsis.model import Model
from sonopsis.writers import write

PHONE = (390, 844)


@pytest.fixture(scope="module")
def page(visit: Callable[[str], Any], service: Any, sounds: Path) -> Any:
    """The page with noise.wav, which has three windows, described."""
    page = visit(service.address)
    page.open(sounds / "noise.wav")
    return page


def test_what_the_model_says_is_shown(page: Any, model: Model, sounds: Path) -> None:
    captions = model.caption(sounds / "noise.wav")
    shown = [item.get_property("textContent") for item in page.all("#captions li > span")]
    assert len(captions) == len(shown) == 3
    for caption, text in zip(captions, shown, strict=True):
        assert caption.text in text
    labels = {label for tags in model.tag(sounds / "noise.wav", window=2, hop=1) for label, _ in tags.labels}
    assert {lane.text for lane in page.all(".lane > span")} == labels
    ends = [re.findall(r"(\d:\d\d\.\d)", event.get_attribute("aria-label")) for event in page.all(".track button")]
    assert min(start for start, _ in ends) == "0:00.0" and max(end for _, end in ends) == "0:06.0"


def test_the_slider_dims_what_pruning_drops_and_shows_its_cost(page: Any, model: Model, sounds: Path) -> None:
    page.seek(0)
    samples, _ = soundfile.read(sounds / "noise.wav", stop=round(16_000 * model.window), dtype="float32")
    mel = model.mel(samples)  # (1, T, M)
    page.keep(1.0)
    whole, dear = page.pixels(), page["macs"].text
    assert whole.shape[:2] == mel.shape[1:] and page["tokens"].text == "128"
    level = (whole[:, :, :3] * (0.3, 0.59, 0.11)).sum(axis=2)  # the louder, the lighter
    assert np.corrcoef(level.ravel(), mel[0].ravel())[0, 1] > 0.95
    page.keep(0.5)
    assert page["tokens"].text == "128 → 64 → 32 → 16" and "16 of 128" in page["span"].text
    assert float(page["macs"].text.split()[0]) <= float(dear.split()[0]) and "(100 %)" in dear
    assert re.fullmatch(r"\d+\.\d ms \(\d+ %\)", page["milliseconds"].text)
    assert 0 < int(re.search(r"\((\d+) %\)", page["macs"].text).group(1)) < 80
    same = (page.pixels() == whole).all(axis=2)  # (T, M)
    cells = same.reshape(16, 16, 8, 16).all(axis=(1, 3))  # (t, f)
    survivors = model.encode(mel, keep_rate=0.5).stages[-1][0]
    assert set(np.flatnonzero(cells.ravel())) == set(survivors.tolist())


def test_playback_moves_the_cursor_and_follows_captions(page: Any) -> None:
    page.seek(0)
    seconds = "return document.getElementById('sound').currentTime"
    page["play"].click()
    page.wait(lambda: page.run(seconds) > 0.2)
    assert page["play"].text == "Pause" and not page.run("return document.getElementById('sound').paused")
    page["play"].click()
    page.wait(lambda: page["play"].text == "Play" and page.run("return document.getElementById('sound').paused"))
    page.all("#captions button")[1].click()
    page.wait(lambda: page.run(seconds) >= 2.56)
    page.run("document.getElementById('sound').pause()")
    lefts = []
    for place, second in enumerate((1, 3, 5.5)):
        page.seek(second)
        page.wait(lambda place=place: page["span"].text.startswith(("0:00.0", "0:02.6", "0:05.1")[place]))
        assert [bool(item.get_attribute("aria-current")) for item in page.all("#captions li")] == [
            number == place for number in range(3)
        ]
        assert page["now"].get_property("textContent") in page.all("#captions li")[place].get_property("textContent")
        assert page["now"].text and page["clock"].text == f"0:0{second:.1f} / 0:06.0"
        lefts.append(float(page.run("return document.getElementById('cursor').style.left").removesuffix("%")))
    assert lefts == pytest.approx([100 / 2.56, 100 * 0.44 / 2.56, 100 * 0.38 / 0.88], abs=0.1)


@pytest.mark.parametrize(("button", "format"), [("SRT", "srt"), ("WebVTT", "vtt")])
def test_downloads_are_what_the_command_line_writes(
    page: Any, model: Model, sounds: Path, tmp_path: Path, button: str, format: str
) -> None:
    found = downloaded(page, button, tmp_path)
    expected = tmp_path / "expected"
    with expected.open("w") as stream:
        write(model.describe_many([sounds / "noise.wav"]), format, stream)
    assert found.name == f"noise.{format}"
    assert found.read_text() == expected.read_text().replace(str(sounds / "noise.wav"), "noise.wav")


def test_the_labels_of_events_are_downloaded(page: Any, tmp_path: Path) -> None:
    rows = [line.split("\t") for line in downloaded(page, "Audacity labels", tmp_path).read_text().splitlines()]
    shown = [event.get_attribute("aria-label").split(", 0:")[0] for event in page.all(".track button")]
    assert sorted(text for _, _, text in rows) == sorted(shown)


def downloaded(page: Any, button: str, folder: Path) -> Path:
    """The file that a button of the page saves."""
    page.browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})
    next(found for found in page.all("#saving button") if found.text == button).click()
    done = lambda: [file for file in folder.iterdir() if not file.name.endswith((".crdownload", ".tmp"))]  # noqa: E731
    page.wait(done)
    return done()[0]


def test_a_phone_shows_all_without_scrolling_sideways(page: Any, resize: Callable[[int, int], None]) -> None:
    resize(*PHONE)
    assert page.run("return document.documentElement.scrollWidth") <= PHONE[0]
    for control in page.all("button, input, label.button"):
        if control.is_displayed() and control.get_attribute("id") != "file":
            box = control.rect
            assert box["x"] >= 0 and box["x"] + box["width"] <= PHONE[0]
            assert box["height"] >= (28 if control.find_elements(By.XPATH, "ancestor::*[@id='events']") else 44)


def test_a_keyboard_reaches_everything_and_sees_where_it_is(page: Any) -> None:
    page.run("document.querySelector('.skip').focus()")
    assert page.all(".skip")[0].rect["x"] >= 0
    reached = []
    for _ in range(40):
        page.press(Keys.TAB)
        at = page.browser.switch_to.active_element
        outlined = at if at.get_attribute("id") != "file" else page.all("label.button")[0]
        if at.tag_name == "body":
            break
        assert outlined.value_of_css_property("outline-style") == "solid", at.get_attribute("outerHTML")
        assert at.accessible_name, at.get_attribute("outerHTML")
        reached.append(at.get_attribute("id") or at.text or at.get_attribute("class"))
    for name in ("file", "record", "play", "position", "keep", "SRT", "WebVTT", "Audacity labels"):
        assert name in reached
    assert len(page.all(".track button[tabindex='0']")) == 1  # arrows lead to the other events
    page.all(".track button[tabindex='0']")[0].send_keys(Keys.ARROW_DOWN)
    assert page.browser.switch_to.active_element == page.all(".track button")[1]


def test_the_space_bar_plays_and_pauses(page: Any) -> None:
    page.seek(0)  # what plays must not end meanwhile
    page.run("document.activeElement.blur()")
    page.press(Keys.SPACE)
    page.wait(lambda: page["play"].text == "Pause")
    page.press(Keys.SPACE)
    page.wait(lambda: page["play"].text == "Play")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_letters_can_be_read_in_light_and_dark(page: Any, scheme: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    colour = lambda selector, name: luminance(page.all(selector)[0].value_of_css_property(name))  # noqa: E731
    paper, panel = colour("body", "background-color"), colour("section", "background-color")
    assert (paper > 0.5) == (scheme == "light")
    pairs = [(colour("body", "color"), paper), (colour("#now", "color"), panel), (colour(".hint", "color"), panel)]
    pairs += [(colour("header p", "color"), paper), (colour("#error", "color"), paper), (colour("h1", "color"), paper)]
    pairs += [(colour("#play", "color"), colour("#play", "background-color"))]
    for one, other in pairs:
        assert (max(one, other) + 0.05) / (min(one, other) + 0.05) >= 4.5  # WCAG 2.2, 1.4.3
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def luminance(colour: str) -> float:
    """The relative luminance of a CSS colour, as WCAG defines it."""
    values = np.array([float(value) for value in re.findall(r"[\d.]+", colour)[:3]]) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def test_nothing_is_asked_of_another_place(page: Any) -> None:
    names = page.run("return performance.getEntriesByType('resource').map(({ name }) => name)")
    assert len(names) > 10
    assert [name for name in names if not name.startswith((page.address, f"blob:{page.address}"))] == []
    # The browser is that of all tests here, some of which send what the service refuses: no fault of the page.
    logged = [entry for entry in page.browser.get_log("browser") if entry["source"] != "network"]
    assert [entry for entry in logged if entry["level"] == "SEVERE"] == []
