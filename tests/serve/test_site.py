"""The files of the page: served whole, with the library as its package has it, and asking nobody else."""

import re
import urllib.request
from hashlib import sha256
from html.parser import HTMLParser

import pytest

from sonopsis.asking import LONGEST_QUESTION
from sonopsis.serve.site import FOLDER

FILES = sorted(file for file in FOLDER.rglob("*") if file.is_file())
OWN = [file for file in FILES if "vendor" not in file.parts]
VENDOR = FOLDER / "vendor" / "wavesurfer"


@pytest.mark.parametrize("file", [file for file in FILES if file.suffix], ids=lambda file: file.name)
def test_every_file_is_served(address: str, file: object) -> None:
    path = file.relative_to(FOLDER).as_posix()  # type: ignore[attr-defined]
    for name in (path, "") if path == "index.html" else (path,):
        with urllib.request.urlopen(address + name) as answer:
            assert answer.read() == file.read_bytes()  # type: ignore[attr-defined]
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            kind = answer.headers["Content-Type"].split(";")[0]
            expected = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml"}
            assert kind == expected.get(file.suffix, "text/plain")  # type: ignore[attr-defined]


def test_the_library_is_unchanged() -> None:
    lines = (VENDOR / "SHA256SUMS").read_text().splitlines()
    sums = dict(reversed(line.split("  ")) for line in lines)  # type: ignore[misc]
    assert set(sums) == {file.name for file in VENDOR.iterdir()} - {"SHA256SUMS", "VERSION"}
    for name, digest in sums.items():
        assert sha256((VENDOR / name).read_bytes()).hexdigest() == digest


def test_own_files_are_short_and_name_no_other_place() -> None:
    for file in OWN:
        text = file.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 300, file.name
        assert set(re.findall(r"https?://[^\s\"']+", text)) <= {"http://www.w3.org/2000/svg"}, file.name


class _Labels(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.references: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.ids += [found["id"] or ""] if "id" in found else []
        for name in ("for", "aria-labelledby", "list"):
            self.references += (found.get(name) or "").split()
        if (target := found.get("href") or "").startswith("#"):
            self.references.append(target[1:])


def test_ids_are_unique_and_every_reference_and_script_finds_its_element() -> None:
    html = _Labels()
    html.feed((FOLDER / "index.html").read_text(encoding="utf-8"))
    assert len(html.ids) == len(set(html.ids)) and set(html.references) <= set(html.ids)
    scripts = "".join(file.read_text(encoding="utf-8") for file in OWN if file.suffix == ".js")
    assert set(re.findall(r'element\("([^"]+)"\)', scripts)) <= set(html.ids)


def test_the_field_for_a_question_takes_as_much_as_the_service() -> None:
    field = re.search(r'<input id="question"[^>]*>', (FOLDER / "index.html").read_text(encoding="utf-8"))
    assert field is not None and f'maxlength="{LONGEST_QUESTION}"' in field[0]
