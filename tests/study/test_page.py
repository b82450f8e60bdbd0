"""A report is one well-formed file that asks the network for nothing."""

import json
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sonopsis.cli.main import app
from sonopsis.study.page import interval, points

VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """Checks that every element is closed, and collects identifiers, addresses and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: Counter[str] = Counter()
        self.addresses: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attributes:
            if name == "id":
                self.ids[value or ""] += 1
            if name in ("src", "href", "xlink:href", "action"):
                self.addresses.append(value or "")

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def check(path: Path) -> Page:
    """A page that asks the network for nothing, with unique identifiers to which all references lead."""
    page = Page(path.read_text(encoding="utf-8"))
    assert max(page.ids.values()) == 1
    local = [address for address in page.addresses if address.startswith("#")]
    assert {address[1:] for address in local} <= set(page.ids)
    assert all(address.startswith(("#", "data:")) for address in page.addresses)
    assert "url(http" not in path.read_text(encoding="utf-8") and "@import" not in path.read_text(encoding="utf-8")
    return page


@pytest.fixture(scope="module")
def tradeoff(tiny_model: Path, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the command on six clips."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    command = ["study", "pruning", tiny_model, root / "manifest.jsonl", "-o", path, "--limit", "6"]
    result = CliRunner().invoke(app, list(map(str, command)))
    assert result.exit_code == 0 and result.stdout == "", result.output
    assert "6 of 6 clips" in result.stderr and "wrote" in result.stderr
    return path


def test_the_report_of_the_trade_off(tradeoff: Path) -> None:
    page = check(tradeoff)
    report = json.loads(tradeoff.with_suffix(".json").read_text())
    assert report["clips"] == 6 and len(report["rows"]) > 30
    for row in report["rows"]:
        assert f"{100 * row['accuracy']:.1f}" in page.text and f"{row['executed_gmacs']:.3f}" in page.text
    assert all(text in page.text for text in (*report["arms"], *report["notes"]))
    assert page.text.count("executed MACs saved") >= 2  # the plots' text is text


@pytest.fixture(scope="module")
def importance(tiny_model: Path, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "importance.html"
    command = ["study", "importance", tiny_model, root / "manifest.jsonl", "-o", path, "--limit", "5"]
    result = CliRunner().invoke(app, list(map(str, command)))
    assert result.exit_code == 0 and result.stdout == "", result.output
    return path


def test_the_report_of_importance(importance: Path) -> None:
    page = check(importance)
    report = json.loads(importance.with_suffix(".json").read_text())
    assert sum(address.startswith("data:image/png") for address in page.addresses) >= 4 * 3
    for row in report["ablations"]:
        assert row["ablation"] in page.text and points(row["accuracy_difference"]) in page.text
    assert "rank correlation" in page.text and "times the uniform share" in page.text


def test_numbers_are_written_for_readers() -> None:
    assert points(-0.0123) == "\N{MINUS SIGN}1.2" and points(0.004) == "+0.4"
    assert interval([-0.05, 0.1]) == "\N{MINUS SIGN}5.0 to 10.0" and interval(None) == "not known"


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1200])
def test_a_browser_shows_the_report_without_scrolling_sideways(
    tradeoff: Path, browser: Any, resize: Callable[[int, int], None], width: int
) -> None:
    resize(width, 900)
    browser.get("about:blank")
    browser.get_log("browser")  # what pages of other tests have left there
    browser.get(tradeoff.as_uri())
    root = "document.documentElement"
    assert browser.execute_script("return window.innerWidth") == width
    inside = browser.execute_script(f"return {root}.clientWidth")  # less a scroll bar, where the system has one
    assert browser.execute_script(f"return {root}.scrollWidth") <= inside <= width
    sizes = browser.execute_script(
        "return [...document.querySelectorAll('svg')].map((svg) => svg.getBoundingClientRect().width)"
    )
    assert len(sizes) == 2 and all(100 < size <= inside for size in sizes)
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
