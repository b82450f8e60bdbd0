"""`data`: the catalogue is shown as it is, and what goes wrong is one line per package or per run."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
from click.testing import Result

from sonopsis.data.catalogue import list_sources
from sonopsis.scenes.scene import read_scenes

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


def test_compose_writes_scenes_and_says_how_many_of_which_type(sonopsis: Run, root: Path, tmp_path: Path) -> None:
    output = tmp_path / "scenes.jsonl.gz"
    arguments = ["--split", "test", "--count", "9", "--audio", tmp_path / "audio"]
    result = sonopsis("data", "compose", "--root", root, "--output", output, *arguments)
    assert (result.exit_code, result.stdout.strip()) == (0, str(output))
    scenes = read_scenes(output)
    assert len(scenes) == 9 and result.stderr.startswith("9 scenes: ")
    assert sorted(path.stem for path in (tmp_path / "audio").iterdir()) == sorted(scene.id for scene in scenes)


def test_the_benchmark_needs_its_own_recordings_and_its_own_settings(sonopsis: Run, root: Path, tmp_path: Path) -> None:
    arguments = ["data", "compose", "--benchmark", "--root", root, "--output", tmp_path / "scenes.jsonl.gz"]
    result = sonopsis(*arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert "benchmark version 1" in line or "labels" in line
    result = sonopsis(*arguments, "--seed", "3")
    assert result.exit_code == 2 and "leave out --split, --count and" in result.stderr
    assert not (tmp_path / "scenes.jsonl.gz").exists()


def test_import_writes_a_manifest_and_counts_what_is_missing(
    sonopsis: Run, published: Callable[[str, Path], Path], tmp_path: Path
) -> None:
    published("esc50", tmp_path)
    next((tmp_path / "audio").iterdir()).unlink()
    result = sonopsis("data", "import", "esc50", tmp_path, "--fold", "2", "--validation", "0")
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path / 'manifest.jsonl'}\n")
    (line,) = result.stderr.splitlines()
    assert line.startswith("9 of 10 clips, 2 labels: ") and line.endswith("1 are missing and 0 cannot be used")
    assert len((tmp_path / "manifest.jsonl").read_text().splitlines()) == 9


@pytest.mark.parametrize("arguments", [["birds"], ["esc50"], ["vggsound"]])
def test_import_says_in_one_line_what_is_wrong(sonopsis: Run, tmp_path: Path, arguments: list[str]) -> None:
    result = sonopsis("data", "import", *arguments, tmp_path)
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ") and not (tmp_path / "manifest.jsonl").exists()


def test_import_knows_the_layouts_that_there_are() -> None:
    from sonopsis.cli import data
    from sonopsis.data.published import layouts

    assert set(data.LAYOUTS) == set(layouts.LAYOUTS)


def test_import_says_how_many_captions_there_are_and_what_is_missing(sonopsis: Run, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", [0.1] * 100, 16_000)
    (tmp_path / "captions.csv").write_text(
        "audio,caption,split\na.wav,A dog,test\na.wav,A bark,test\nb.wav,A cat,test\n"
    )
    result = sonopsis("data", "import", "captions", tmp_path)
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path / 'manifest.jsonl'}\n")
    (line,) = result.stderr.splitlines()
    assert line == "1 of 2 clips, 2 captions: 0 train, 0 validation, 1 test; 1 are missing and 0 cannot be used"
