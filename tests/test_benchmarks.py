"""The script that writes measured tables into the documentation."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[1]
specification = importlib.util.spec_from_file_location("tables", ROOT / "benchmarks" / "tables.py")
assert specification is not None and specification.loader is not None
tables = importlib.util.module_from_spec(specification)
specification.loader.exec_module(tables)

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
