"""What needs a package that is not there says so in one line that names an extra, and every extra is one of ours."""

import tomllib
from pathlib import Path

import pytest

from sonopsis.installed import EXTRAS, MissingPackageError, installed, needed_by, require

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_every_extra_exists_and_the_base_has_no_torch() -> None:
    assert set(EXTRAS.values()) <= set(PROJECT["optional-dependencies"])
    assert not [line for line in PROJECT["dependencies"] if line.startswith("torch")]


def test_a_package_that_is_not_there_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXTRAS, "nothing_of_this_name", "torch")
    line = 'this needs nothing_of_this_name, which is not installed: pip install "sonopsis[torch]"'
    assert not installed("nothing_of_this_name") and installed("numpy")
    with pytest.raises(MissingPackageError) as found:
        require("nothing_of_this_name", "this")
    assert str(found.value) == line and found.value.name == "nothing_of_this_name"
    with pytest.raises(ValueError) as caught, needed_by("this"):
        import nothing_of_this_name.deep  # type: ignore[import-not-found]  # noqa: F401
    assert str(caught.value) == line


def test_other_missing_modules_are_not_explained() -> None:
    with pytest.raises(ModuleNotFoundError) as found, needed_by("this"):
        import nothing_of_this_name  # noqa: F401
    assert not isinstance(found.value, MissingPackageError)
    require("numpy", "this")
