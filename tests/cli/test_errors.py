"""The table of what failed: whose it is, and where it may be."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from sonopsis.cli.journal import Journal

Run = Callable[..., Result]


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A file that is no recording."""
    file = tmp_path / "broken.wav"
    file.write_text("no sound")
    return file


def test_a_run_that_is_refused_leaves_the_table_of_another_alone(
    sonopsis: Run, tiny_model: Path, broken: Path, tmp_path: Path
) -> None:
    out, table = tmp_path / "out", tmp_path / "failed.csv"
    table.write_text("file,error\nlost.wav,no such file\n")
    before = table.read_bytes()
    going_on = Journal(out, {"hop": None}, resume=True)
    options = ("tag", broken, "--model", tiny_model, "-o", out, "--resume", "--errors", table)
    for why in ("another run writes there", "the results of a run with another"):
        refused = sonopsis(*options)
        assert refused.exit_code == 1 and why in refused.stderr
        assert table.read_bytes() == before
        going_on.close(keep=True)  # the second time, the settings are refused


def test_the_folder_of_the_table_is_made(sonopsis: Run, tiny_model: Path, broken: Path, tmp_path: Path) -> None:
    options = ("tag", broken, "--model", tiny_model, "-f", "csv", "--errors")
    for place, more in (("out/failed.csv", ("-o", tmp_path / "out")), ("new/deep/failed.csv", ())):
        table = tmp_path / place
        assert sonopsis(*options, table, *more).exit_code == 1
        assert [line.split(",")[0] for line in table.read_text().splitlines()] == ["file", str(broken)]


def test_a_table_that_has_no_place_is_one_line(sonopsis: Run, tiny_model: Path, broken: Path) -> None:
    refused = sonopsis("tag", broken, "--model", tiny_model, "-f", "csv", "--errors", broken / "failed.csv")
    assert refused.exit_code == 1 and "another file for --errors" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
