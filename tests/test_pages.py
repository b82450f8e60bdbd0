"""What the pages state about the code is so: rooms of the map, messages, columns of the formats, links."""

import ast
import csv
import dataclasses
import io
import json
import re
from datetime import datetime
from pathlib import Path

import pytest

from sonopsis.data.manifest import Row
from sonopsis.results import FileResult, LabelScore, WindowResult
from sonopsis.writers import WRITERS, open_writer, write

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "sonopsis"
DOCS = sorted((ROOT / "docs").glob("*.md"))


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


# ---- the map


def rooms(page: str) -> list[str]:
    """The names under `src/sonopsis/` in the tree of a page, in its order."""
    tree = re.search(r"^ {4}src/sonopsis/.*\n((?: {6}.*\n)+)", read(page), re.MULTILINE)
    assert tree is not None, f"{page} has no tree"
    lines = [line.strip() for line in tree[1].splitlines() if line.startswith("      ") and line[6] != " "]
    return [name for line in lines for name in re.findall(r"[\w.]+(?:\.py|/)", line.split("  ")[0])]


@pytest.mark.parametrize("page", ["README.md", "docs/design.md"])
def test_the_map_has_every_room_and_no_other(page: str) -> None:
    there = {f"{path.name}/" for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    there |= {path.name for path in PACKAGE.glob("*.py")} - {"__main__.py"}
    assert set(rooms(page)) == there


def test_both_maps_have_the_same_order() -> None:
    assert rooms("README.md") == rooms("docs/design.md")


# ---- messages


FILE_NAME = re.compile(r"\b\w+\.(?:json|safetensors)")  # a constant in the code, spelled out on the page


def messages() -> list[str]:
    """Every text of the package, with `…` for what is filled in."""
    found = []
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else "…" for part in node.values]
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(re.sub(r"%[-+.\d]*[a-z]|\{[^}]*\}", "…", node.value))
    return [FILE_NAME.sub("…", text.replace("`", "")) for text in found]


def test_every_message_that_a_page_explains_exists() -> None:
    known = messages()
    quoted = re.findall(r"^### `(.+)`$", read("docs/what-goes-wrong.md"), re.MULTILINE)
    theirs = {"RuntimeError: operator torchvision::nms does not exist"}
    assert len(quoted) > 50
    for message in set(quoted) - theirs:
        pieces = [re.escape(piece.strip(" :")) for piece in FILE_NAME.sub("…", message).split("…") if piece.strip(" :")]
        pattern = re.compile(".*".join(pieces), re.DOTALL)
        assert any(pattern.search(text) for text in known), f"no code says: {message}"


# ---- formats


def section(title: str) -> list[list[str]]:
    """First column of every table in a section of the formats page."""
    text = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", read("docs/formats.md"), re.MULTILINE | re.DOTALL)
    assert text is not None, f"no section {title}"
    tables = re.findall(r"(?:^\|.*\n)+", text[1], re.MULTILINE)
    return [[line.split("|")[1].strip(" `") for line in table.splitlines()[2:]] for table in tables]


DOG = LabelScore("Dog", 0.5, distilled=True)
WINDOW = WindowResult(0.0, 2.0, [DOG], "a dog barks", -1.0, guess=DOG, confidence=0.5)  # with every field there is
RESULT = FileResult("a.wav", 2.0, "m", [WINDOW], began=datetime(2024, 5, 1, 5, 30))
FAILED = FileResult("b.wav", 0.0, "m", error="b.wav: no such file; check the path")


def written(format: str, *results: FileResult) -> str:
    stream = io.StringIO()
    write(results, format, stream)
    return stream.getvalue()


def test_the_page_lists_every_format_with_its_suffix() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `NAME(\S+)` \|", read("docs/formats.md"), re.MULTILINE)
    assert dict(rows) == {name: writer.suffix for name, writer in WRITERS.items()}


def test_the_fields_of_json() -> None:
    files, windows, labels = section("json")
    good, bad = json.loads(written("json", RESULT, FAILED))
    assert set(files) == good.keys() | bad.keys()
    assert windows == list(good["windows"][0])
    assert labels == list(good["windows"][0]["labels"][0])


def test_the_fields_of_json_lines() -> None:
    (fields,) = section("jsonl")
    good, bad = map(json.loads, written("jsonl", RESULT, FAILED).splitlines())
    assert fields == list(good)
    assert set(bad) == {"path", "duration", "model", "error"}


@pytest.mark.parametrize(("format", "delimiter"), [("csv", ","), ("tsv", "\t")])
def test_the_columns_of_tables(format: str, delimiter: str) -> None:
    assert section("csv and tsv") == [next(csv.reader(io.StringIO(written(format, RESULT)), delimiter=delimiter))]


def test_the_columns_of_label_tracks() -> None:
    assert section("raven") == [written("raven").rstrip("\n").split("\t")]
    (columns,) = section("audacity")
    assert len(columns) == len(written("audacity", RESULT).split("\t"))


def test_the_columns_of_date_and_time() -> None:
    (columns,) = section("Date and time")
    found = []
    for format, delimiter in (("csv", ","), ("raven", "\t")):
        with open_writer(format, stream := io.StringIO(), clock=True):
            pass
        plain = written(format).rstrip("\n").split(delimiter)
        found += [name for name in stream.getvalue().rstrip("\n").split(delimiter) if name not in plain]
    assert columns == found


def test_the_fields_of_a_manifest() -> None:
    table = read("docs/labels.md").split("## A manifest of your own")[1]
    assert re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`.*?) \|", table, re.MULTILINE))) == [
        field.name for field in dataclasses.fields(Row)
    ]


# ---- links


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", *(f"docs/{page.name}" for page in DOCS)])
def test_links_lead_somewhere(page: str) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", read(page))
    gone = [link for link in links if "://" not in link and not (ROOT / page).parent.joinpath(link).exists()]
    assert not gone


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", *(f"docs/{page.name}" for page in DOCS)])
def test_files_that_a_page_names_exist(page: str) -> None:
    named = re.findall(r"`((?:src|tests|scripts|benchmarks|configs|docs|examples)/[\w./-]+\.\w+)`", read(page))
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_index_and_the_site_name_every_page() -> None:
    index, site = read("docs/index.md"), read("mkdocs.yml")
    for page in DOCS:
        assert page.name in site
        assert f"({page.name})" in index or page.name == "index.md"


def test_the_speed_table_is_that_of_the_page_about_speed() -> None:
    rows = re.findall(r"^\| (.+) \| (\d+) \| (\d+\.\d\d) \| (\d*) \| (\d*\.?\d*) \|$", read("README.md"), re.MULTILINE)
    assert len(rows) >= 5
    measured = [[cell.strip() for cell in line.split("|")] for line in read("docs/bench.md").splitlines()]
    for name, *figures in rows:
        for milliseconds, ratio in (figures[:2], figures[2:]):
            assert any(line[1:2] == [name] and milliseconds in line and ratio in line for line in measured), name
