"""The scripts that write measured tables and plots into the documentation."""

import importlib.util
import json
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


def script(name: str) -> ModuleType:
    specification = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


tables = script("tables")

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


def test_every_table_of_the_documentation_has_a_command_that_exists() -> None:
    page = (ROOT / "docs" / "bench.md").read_text()
    commands = [block["command"] for block in tables.BLOCK.finditer(page)]
    assert len(commands) == page.count("<!-- bench:") == page.count("<!-- end -->") >= 3
    assert {command.split()[2] for command in commands} <= {"encoder", "lm", "pipeline", "start"}


def test_the_plot_of_growth_names_its_models_and_is_the_same_every_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    plot = script("growth_plot")
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
        plot.main()
    texts = [element.text for element in ET.parse(written[0]).iter("{http://www.w3.org/2000/svg}text")]
    assert {"Mamba-2", "Transformer", "64", "4,096"} <= set(texts)
    assert written[0].read_bytes() == written[1].read_bytes()
