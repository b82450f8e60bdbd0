"""The environment check finds what it must, the pins cover what is installed, and importing sonopsis is cheap."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def check(extra_path: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(extra_path), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, ROOT / "scripts" / "check_environment.py"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )


def pretend_installed(folder: Path, package: str, version: str) -> None:
    info = folder / f"{package}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")


def test_this_environment_is_sound(tmp_path: Path) -> None:
    result = check(tmp_path)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("package", ["torchvision", "torchaudio", "timm"])
def test_an_unwanted_package_fails_with_its_name_and_the_way_out(tmp_path: Path, package: str) -> None:
    pretend_installed(tmp_path, package, "0.1.0")
    result = check(tmp_path)
    assert result.returncode == 1
    assert f"{package} 0.1.0 is installed" in result.stderr
    assert f"pip uninstall {package}" in result.stderr


@pytest.mark.parametrize("version", ["2.12.1", "2.13.0.dev1", "2.13.01+cpu"])
def test_another_torch_fails(tmp_path: Path, version: str) -> None:
    pretend_installed(tmp_path, "torch", version)
    result = check(tmp_path)
    assert result.returncode == 1
    assert f"torch {version} is installed" in result.stderr and "2.13.0" in result.stderr


@pytest.mark.parametrize("version", ["2.13.0", "2.13.0+cpu", "2.13.0+cu128"])
def test_every_build_of_the_pinned_torch_passes(tmp_path: Path, version: str) -> None:
    pretend_installed(tmp_path, "torch", version)
    assert check(tmp_path).returncode == 0


def requirement_name(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower().replace("_", "-")


INSTALLED = ("dev", "train", "hf", "data", "hub", "export", "openvino", "fast", "report")  # by `make test`


def test_constraints_pin_every_requirement_of_make_test_exactly() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = {requirement_name(r) for r in sum((extras[name] for name in INSTALLED), project["dependencies"])}
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)  # one version each, no local build, no address
    pinned = {requirement_name(line) for line in lines}
    assert wanted - pinned == set()
    assert pinned & {"torchvision", "torchaudio", "timm"} == set()


def modules_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    return set(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split())


HEAVY = {"torch", "numpy", "soundfile", "soxr", "tokenizers", "safetensors", "transformers", "accelerate", "sklearn"}


@pytest.mark.parametrize("statement", ["import sonopsis", "import sonopsis.cli.main"])
def test_the_package_and_its_command_line_import_nothing_heavy(statement: str) -> None:
    loaded = modules_after(statement)
    assert "sonopsis" in loaded
    assert loaded & HEAVY == set()


@pytest.mark.parametrize(
    "module", ["audio", "mel", "results", "writers", "metrics", "data.manifest", "scenes.compose", "cli.describe"]
)
def test_what_needs_no_torch_does_not_import_it(module: str) -> None:
    assert "torch" not in modules_after(f"import sonopsis.{module}")


def test_public_names() -> None:
    import sonopsis

    assert callable(sonopsis.load) and set(sonopsis.__all__) <= set(dir(sonopsis))
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        sonopsis.lode  # noqa: B018
