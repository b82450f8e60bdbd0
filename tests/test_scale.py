"""Recordings on a real Ray cluster of two processors on this machine: the bytes of the local executor."""

import os
import pickle
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from sonopsis.cli.main import app
from sonopsis.encoder import PRESETS, Tagger
from sonopsis.files import ModelError
from sonopsis.folder import ModelConfig
from sonopsis.installed import installed
from sonopsis.mel import MelConfig
from sonopsis.model import Request, load
from sonopsis.modules import save
from sonopsis.scale import WAYS, Job, Worker

EXAMPLES = Path(__file__).parent.parent / "examples"
needs_ray = pytest.mark.skipif(not installed("ray"), reason="ray is not installed: pip install 'sonopsis[scale]'")


@pytest.fixture
def recordings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Seven recordings, the third of which cannot be read, in the working folder."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "recordings"
    folder.mkdir()
    for name in ("arrow.wav", "car_passing.mp3", "cow.ogg", "duck.ogg", "helicopter.ogg", "horse.ogg"):
        shutil.copy(EXAMPLES / name, folder)
    (folder / "broken.wav").write_text("no recording")
    return folder


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """The cluster that RAY_ADDRESS names, or one of two processors that ends with these tests."""
    # Beside other tests, workers that are as nice as Ray makes them (15) would hardly run.
    os.environ.setdefault("RAY_worker_niceness", "0")
    import ray

    own = {} if "RAY_ADDRESS" in os.environ else {"address": "local", "num_cpus": 2, "include_dashboard": False}
    ray.init(log_to_driver=False, logging_level="error", **own)
    yield
    ray.shutdown()


def table(*options: str, folder: str) -> dict[str, bytes]:
    """The files that a run over `recordings` writes, one of whose inputs is broken."""
    result = CliRunner().invoke(app, [*options, "-o", folder, "--combined", "--errors", f"{folder}.csv", "--quiet"])
    assert result.exit_code == 1 and "broken.wav" in result.stderr, result.output
    files = [*Path(folder).iterdir(), Path(f"{folder}.csv")]
    return {path.name.replace(folder, "errors"): path.read_bytes() for path in files}


@needs_ray
@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ["tag", "recordings", "--window", "1", "-f", "parquet", "-f", "csv", "-f", "json"],
        ["caption", "recordings", "--scenes", "-f", "jsonl"],
    ],
    ids=["windows", "scenes"],
)
def test_a_cluster_writes_the_bytes_of_this_machine(cluster: None, recordings: Path, command: list[str]) -> None:
    here = table(*command, "--workers", "1", folder="here")
    there = table(*command, "--executor", "ray", "--workers", "2", folder="there")
    assert there == here and len(here) >= 2


@needs_ray
@pytest.mark.slow
def test_a_cluster_goes_on_with_a_run_of_this_machine(cluster: None, recordings: Path) -> None:
    command = ["-f", "csv", "-o", "out", "--combined", "--resume", "--quiet"]
    whole = ["tag", "recordings", "-f", "csv", "-o", "whole", "--combined", "--workers", "1", "--quiet"]
    assert CliRunner().invoke(app, whole).exit_code == 1
    first = CliRunner().invoke(app, ["tag", "recordings/arrow.wav", *command, "--workers", "1"])
    assert first.exit_code == 0, first.output
    rest = CliRunner().invoke(app, ["tag", "recordings", *command, "--executor", "ray"])
    assert rest.exit_code == 1, rest.output
    assert Path("out/results.csv").read_bytes() == Path("whole/results.csv").read_bytes()


@pytest.mark.parametrize("way", sorted(WAYS))
def test_a_worker_finds_what_the_model_finds(recordings: Path, way: str) -> None:
    paths = [str(path) for path in sorted(recordings.iterdir()) if path.name != "duck.ogg"]
    request, model = Request(window=1.0), load(engine="onnx")
    follow = WAYS[way] and partial(WAYS[way], model)
    expected = list(model.follow_many(paths, request, follow=follow, workers=1))
    worker = Worker(Job("default", "onnx", None, False, request, way))
    found = [pickle.loads(parts) for parts in worker({"path": np.array(list(map(os.fsencode, paths)))})["parts"]]
    assert [part.result.path for parts in found for part in parts if part.window is None] == paths
    assert str([part for parts in found for part in parts]) == str(expected)


def test_an_error_of_the_model_comes_back_as_one(recordings: Path, tmp_path: Path) -> None:
    config = replace(PRESETS["ast"], width=32, heads=2, depth=4)
    save(Tagger(config, 2), tmp_path / "tagger", ModelConfig(["a", "b"], config), MelConfig())
    worker = Worker(Job(str(tmp_path / "tagger"), "torch", None, False, Request(captions=True)))
    (found,) = map(pickle.loads, worker({"path": np.array([b"recordings/cow.ogg"])})["parts"])
    assert isinstance(found, ModelError) and "caption" in str(found)


def test_without_ray_one_line_says_what_installs_it(monkeypatch: pytest.MonkeyPatch, recordings: Path) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    result = CliRunner().invoke(app, ["tag", "recordings", "--executor", "ray"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == 'error: --executor ray needs ray, which is not installed: pip install "sonopsis[scale]"\n'


@needs_ray
def test_standard_input_is_refused() -> None:
    result = CliRunner().invoke(app, ["tag", "-", "--executor", "ray"])
    assert result.exit_code == 2 and "standard input" in result.stderr


def test_an_executor_that_does_not_exist_is_refused() -> None:
    result = CliRunner().invoke(app, ["tag", "a.wav", "--executor", "cloud"])
    assert result.exit_code == 2 and "local, ray" in result.stderr
