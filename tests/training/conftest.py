"""What tests of training share: tiny runs on the synthetic data root."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from sonopsis.data.clips import ClipBank
from sonopsis.data.manifest import read
from sonopsis.training.config import TrainConfig
from sonopsis.training.configfile import load_config

ENCODER = {"width": 16, "depth": 4, "heads": 2, "stem": "patch"}
LM = {"width": 16, "depth": 1, "state": 8, "head_dim": 8, "vocabulary": 320}
TINY = {"steps": 2, "batch_size": 2, "warmup_steps": 1, "log_every": 1, "save_every": 2, "validate_every": 2}


@pytest.fixture
def write_run(tmp_path: Path, root: Path) -> Callable[..., Path]:
    """Keys -> the YAML file of a tiny run; the output is a folder of the name `output` beside it."""

    def write(stage: str, output: str = "run", **keys: Any) -> Path:
        data = {"root": str(root), "workers": 0, **keys.pop("data", {})}
        fields = {"stage": stage, "output": str(tmp_path / output), "precision": "no", "data": data, **TINY, **keys}
        if fields.get("model") in (None, "small"):
            fields["encoder"] = {**ENCODER, **fields.get("encoder", {})}
        path = tmp_path / f"{output}.yaml"
        path.write_text(yaml.safe_dump(fields))
        return path

    return write


@pytest.fixture
def make_config(write_run: Callable[..., Path]) -> Callable[..., TrainConfig]:
    """Keys -> the configuration of a tiny run."""
    return lambda *arguments, **keys: load_config(write_run(*arguments, **keys))


@pytest.fixture
def lm() -> dict[str, int]:
    """The sizes of a tiny language model."""
    return LM


@pytest.fixture
def make_frozen(make_config: Callable[..., TrainConfig]) -> Callable[..., TrainConfig]:
    """Keys -> the configuration of a tiny captioner whose encoder stays as it is."""

    def make(output: str = "run", **keys: Any) -> TrainConfig:
        encoder = {"width": 16, "depth": 2, "heads": 2, "train": "frozen", **keys.pop("encoder", {})}
        fields = {"model": "whisper-tiny", "connector": {"pool": 8}, "language_model": LM, "batch_size": 4, **keys}
        return make_config("captioning", output, encoder=encoder, **fields)

    return make


@pytest.fixture(scope="session")
def clips(root: Path) -> tuple[ClipBank, ClipBank]:
    """The training and validation clips of the data root: six labels."""
    train, validation = (ClipBank(read(root / "manifest.jsonl", split), root) for split in ("train", "validation"))  # type: ignore[arg-type]
    return train, validation
