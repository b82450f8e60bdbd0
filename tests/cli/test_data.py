"""`data`: the catalogue is shown as it is, and what goes wrong is one line per package or per run."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from sonopsis.data.catalogue import list_sources

Run = Callable[..., Result]


@pytest.mark.parametrize("profile", ["tiny", "small", "full", "test"])
def test_list_shows_every_package_of_a_profile(sonopsis: Run, profile: str) -> None:
    packages = [source.package for source in list_sources(profile)]
    shown = json.loads(sonopsis("data", "list", "--profile", profile, "--json").stdout)
    assert [entry["package"] for entry in shown] == packages
    assert sum(entry["size"] for entry in shown) == sum(source.size for source in list_sources(profile))
    text = sonopsis("data", "list", "--profile", profile).stdout
    assert [line.split()[0] for line in text.splitlines()[1 : 1 + len(packages)]] == packages


def test_list_tells_how_large_each_profile_is(sonopsis: Run) -> None:
    (line,) = (line for line in sonopsis("data", "list").stdout.splitlines() if line.startswith("profiles: "))
    assert "tiny 88 MB" in line
    assert all(profile in line for profile in ("small", "full", "test"))


@pytest.mark.parametrize("verb", ["list", "fetch"])
def test_an_unknown_profile_is_one_line(sonopsis: Run, tmp_path: Path, verb: str) -> None:
    root = ["--root", tmp_path] if verb == "fetch" else []
    result = sonopsis("data", verb, "--profile", "huge", *root)
    assert (result.exit_code, result.stdout) == (1, "")
    assert len(result.stderr.splitlines()) == 1 and "tiny" in result.stderr


def test_a_mirror_that_is_none_is_one_line(sonopsis: Run, tmp_path: Path) -> None:
    result = sonopsis("data", "fetch", "--root", tmp_path, "--mirror", "gopher://somewhere")
    assert (result.exit_code, result.stdout) == (1, "")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("arguments", [["manifest"], ["compose", "--output", "scenes.jsonl.gz"]])
def test_a_root_without_recordings_says_what_to_run(sonopsis: Run, tmp_path: Path, arguments: list[str]) -> None:
    result = sonopsis("data", *arguments, "--root", tmp_path)
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ") and "sonopsis data " in line


def test_scenes_go_to_a_gzipped_file(sonopsis: Run, tmp_path: Path) -> None:
    result = sonopsis("data", "compose", "--root", tmp_path, "--output", tmp_path / "scenes.json")
    assert result.exit_code == 2 and "jsonl.gz" in result.stderr
