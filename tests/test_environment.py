"""The environment check finds what it must, the pins cover what is installed, and importing sonopsis is cheap."""

import ast
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


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
NOT_IMPORTED = {"dev", "docs"}  # for tests, scripts and the site; every other extra serves code of the package
# Packages whose module has another name.
MODULES = {
    "huggingface-hub": "huggingface_hub",
    "llama-cpp-python": "llama_cpp",
    "pillow": "PIL",
    "pyyaml": "yaml",
    "scikit-learn": "sklearn",
}


def requirements_of_benchmarks() -> list[str]:
    lines = (ROOT / "benchmarks" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not line.startswith("#")]


def imported_by(folder: str) -> set[str]:
    """Packages other than Python's and our own that files in a folder import, by the name of the module."""
    found = set()
    for file in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {name.name.split(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
                found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - {"sonopsis"}


def modules_of(requirements: list[str]) -> set[str]:
    """The modules that requirements install."""
    names = [requirement_name(requirement) for requirement in requirements]
    return {MODULES.get(name, name.replace("-", "_")) for name in names} - {"sonopsis"}  # extras name other extras


# Programs that score captions, which their users install by themselves (docs/metrics.md).
ELSEWHERE = {"aac_metrics", "pycocoevalcap"}


def test_constraints_pin_every_requirement_exactly() -> None:
    wanted = {requirement_name(r) for r in sum(EXTRAS.values(), PROJECT["dependencies"] + requirements_of_benchmarks())}
    header, _, _ = (ROOT / "constraints.txt").read_text().partition("\n")
    assert set(re.search(r"\[(.*)\]", header)[1].split(",")) == set(EXTRAS)  # type: ignore[index]
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)  # one version each, no local build, no address
    pinned = {requirement_name(line) for line in lines}
    assert wanted - pinned == {"sonopsis"}  # in extras that bring other extras
    assert pinned & {"torchvision", "torchaudio", "timm"} == set()


def test_make_installs_every_extra() -> None:
    installed = re.findall(r'-e "\.\[(.*)\]"', (ROOT / "Makefile").read_text())
    assert {extra for extras in installed for extra in extras.split(",")} == set(EXTRAS)


def test_every_requirement_serves_code() -> None:
    serving = {name: modules_of(needed) for name, needed in EXTRAS.items() if name not in NOT_IMPORTED}
    idle = {name: modules - imported_by("src") for name, modules in serving.items()}
    assert {name: modules for name, modules in idle.items() if modules} == {}
    assert modules_of(PROJECT["dependencies"]) - imported_by("src") == set()
    assert modules_of(requirements_of_benchmarks()) - imported_by("benchmarks") - imported_by("src") == set()


def test_every_package_that_the_code_imports_is_required() -> None:
    extras = [requirement for name, needed in EXTRAS.items() if name not in NOT_IMPORTED for requirement in needed]
    in_wheel = PROJECT["dependencies"] + extras
    assert imported_by("src") - modules_of(in_wheel) == ELSEWHERE
    scripts = {file.stem for file in (ROOT / "benchmarks").glob("*.py")}
    beside = modules_of(in_wheel + requirements_of_benchmarks()) | scripts
    assert imported_by("benchmarks") - beside == set()
    scripts = {file.stem for file in (ROOT / "scripts").glob("*.py")}
    alone = set(re.findall(r"--no-deps (\w+)==", (ROOT / "Makefile").read_text()))  # without what it asks for
    assert imported_by("scripts") - modules_of(in_wheel + EXTRAS["dev"]) - scripts == alone


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
