"""A model with its graphs."""

from pathlib import Path

import pytest

import sonopsis


@pytest.fixture(scope="session")
def exported(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with its graphs."""
    folder = tmp_path_factory.mktemp("exported") / "tiny"
    sonopsis.load(tiny_model, engine="torch").export(folder, to="onnx")
    return folder
