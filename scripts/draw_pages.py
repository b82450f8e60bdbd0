"""Pictures of the page and of a study's report for docs/images, taken in a headless Chromium.

    sonopsis serve &
    sonopsis study pruning default MANIFEST -o report.html
    python scripts/draw_pages.py http://127.0.0.1:8000 examples/cow.ogg report.html

Needs selenium, pillow and Debian's packages chromium and chromium-driver.
"""

import argparse
import io
from pathlib import Path
from typing import Any

from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

IMAGES = Path(__file__).parent.parent / "docs" / "images"
PATIENCE = 120  # seconds
WIDE, PHONE = 1000, 390  # CSS pixels
COLOURS = 128  # of a picture, so that it stays small


def main() -> None:
    """Write page.png, page-phone.png and study.png."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("service", help="address of a running service")
    parser.add_argument("recording", type=Path)
    parser.add_argument("report", type=Path, nargs="?", help="of sonopsis study; left out if it is not given")
    arguments = parser.parse_args()
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for name in ("headless=new", "no-sandbox", "disable-gpu", "hide-scrollbars"):
        options.add_argument(f"--{name}")
    with webdriver.Chrome(options, Service("/usr/bin/chromedriver")) as browser:
        for name, width, scheme in (("page", WIDE, "light"), ("page-phone", PHONE, "dark")):
            size(browser, width, 900)
            features = [{"name": "prefers-color-scheme", "value": scheme}]
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
            browser.get(arguments.service)
            browser.find_element(By.ID, "file").send_keys(str(arguments.recording.resolve()))
            WebDriverWait(browser, PATIENCE).until(done)
            save(browser, name, width, browser.execute_script("return document.documentElement.scrollHeight"))
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
        if arguments.report:
            browser.get(arguments.report.resolve().as_uri())
            save(browser, "study", WIDE, 1300)


def done(browser: Any) -> bool:
    """Whether the page has described its recording."""
    return bool(browser.find_element(By.ID, "status").text.startswith("Done"))


def size(browser: Any, width: int, height: int) -> None:
    """Give the page a size in CSS pixels."""
    screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width == PHONE}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)


def save(browser: Any, name: str, width: int, height: int) -> None:
    """Write what the browser shows as a picture of this size."""
    size(browser, width, height)
    shot = Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")
    shot.quantize(COLOURS).save(IMAGES / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
