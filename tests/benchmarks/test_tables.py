"""The scripts that write measured tables and plots into the documentation."""

import json
import shlex
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from typer.main import get_command

import tables
from sonopsis.cli.bench import app

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))

PAGE = """Before.
<!-- bench: sonopsis bench pipeline --model MODEL --clips 2 --at-once 2 --engine torch --keep-rate 1 -->
old figures
<!-- end -->
Between.
<!-- bench: sonopsis bench encoder -->
kept
<!-- end -->
After.
"""


def test_only_what_stands_between_the_comments_is_replaced(tiny_model: Path) -> None:
    page = PAGE.replace("MODEL", str(tiny_model))
    found = tables.rewrite(page, only="bench pipeline")
    assert "old figures" not in found and "kept" in found
    assert f"`sonopsis bench pipeline --model {tiny_model} --clips 2 " in found and "Python" in found
    assert "| sonopsis tag, torch fp32, keep 1 |" in found
    before, after = (text.split("<!-- end -->") for text in (page, found))
    assert after[0].startswith(before[0].split("old")[0]) and after[1:] == before[1:]


def test_a_script_is_a_command_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT.parent)
    page = "<!-- bench: python benchmarks/growth.py --context 3 --width 64 --depth 2 --rounds 1 -->\n<!-- end -->\n"
    found = tables.rewrite(page)
    assert "`python benchmarks/growth.py --context 3 " in found and "| sonopsis Mamba-2, 3 tokens |" in found


@pytest.mark.parametrize(
    "page", [page for page in PAGES if "<!-- bench:" in page.read_text()], ids=lambda page: page.name
)
def test_every_table_of_the_documentation_has_a_command_that_exists(page: Path) -> None:
    text = page.read_text()
    commands = [block["command"] for block in tables.BLOCK.finditer(text)]
    assert len(commands) == text.count("<!-- bench:") == text.count("<!-- end -->")
    for command in commands:
        assert f"\n`{command}`: " in text  # the command is shown above its table
        program, what, *arguments = shlex.split(command)
        if program == "sonopsis":
            parser = get_command(app).commands[arguments[0]]  # type: ignore[attr-defined]
            parser.make_parser(parser.make_context("bench", [], resilient_parsing=True)).parse_args(arguments[1:])
        else:
            assert program == "python" and (ROOT / what).is_file()


def test_the_plot_of_growth_names_its_models_and_is_the_same_every_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    import growth_plot

    rows = [
        {"model": model, "context": context, "median_ms": ms, "p10_ms": 0.9 * ms, "p90_ms": 1.1 * ms, "cache_mib": mib}
        for model, context, ms, mib in (
            ("Mamba-2", 64, 30.0, 19.0),
            ("Mamba-2", 4096, 30.5, 19.0),
            ("Transformer", 64, 25.0, 4.5),
            ("Transformer", 4096, 60.0, 288.0),
        )
    ]
    (tmp_path / "growth.json").write_text(json.dumps({"rows": rows}))
    written = [tmp_path / "first.svg", tmp_path / "second.svg"]
    for file in written:
        monkeypatch.setattr(sys, "argv", ["growth_plot.py", str(tmp_path / "growth.json"), "-o", str(file)])
        growth_plot.main()
    texts = [element.text for element in ET.parse(written[0]).iter("{http://www.w3.org/2000/svg}text")]
    assert {"Mamba-2", "Transformer", "64", "4,096"} <= set(texts)
    assert written[0].read_bytes() == written[1].read_bytes()
