"""Which recordings of a folder validate a run."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from sonopsis.training.config import DataConfig, TrainConfig
from sonopsis.training.recordings import open_clips


@pytest.mark.parametrize(("held_out", "used"), [(("val", "test"), "val"), (("test",), "test")])
def test_test_recordings_choose_nothing_where_there_are_others(
    held_out: tuple[str, ...], used: str, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    for part in ("train", *held_out):
        for label in ("dog", "rain"):
            path = tmp_path / "sounds" / part / label / f"{part}{label}.wav"
            path.parent.mkdir(parents=True)
            soundfile.write(path, rng.uniform(-0.5, 0.5, 8000), 16_000)
    config = TrainConfig("tagging", str(tmp_path / "run"), "small", data=DataConfig(folder=str(tmp_path / "sounds")))
    train, validation = open_clips(config)
    assert {row.path.split("/")[0] for row in train.rows} == {"train"}
    assert {row.path.split("/")[0] for row in validation.rows} == {used}
