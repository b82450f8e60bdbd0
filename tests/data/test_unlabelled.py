"""Recordings without labels: which files are listed, and that nothing held out is among them."""

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sonopsis.data.catalogue import DataError, get_source
from sonopsis.data.manifest import read, write
from sonopsis.data.splits import Splits
from sonopsis.data.unlabelled import FILE, build_unlabelled, find_unlabelled

SPLITS = Splits(("wesnoth-1.16-data",), ("lmms-common",), ("minetest-data:sounds/default_place_node",), ())
FILES = {
    "minetest-data/sounds/fire_fire.1.wav": False,  # labelled
    "minetest-data/sounds/default_place_node.1.wav": False,  # of a validation family
    "minetest-data/sounds/player_damage.wav": True,
    "minetest-data/sounds/readme.txt": False,
    "minetest-mod-xdecor/xdecor_bouncy.ogg": True,
    "minetest-mod-xdecor/xdecor_enchanting.ogg": False,  # a rule leaves it out
    "wesnoth-1.16-data/sounds/select.wav": False,  # of a test package
    "lmms-common/effects/wind_chimes.wav": False,  # of a validation package
}


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number, name in enumerate(FILES):
        path = tmp_path / "audio" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix != ".txt":
            soundfile.write(path, np.random.default_rng(number).uniform(-0.5, 0.5, 4000), 8000)
    return tmp_path


def test_files_that_no_rule_knows_and_nothing_held_out(root: Path) -> None:
    wanted = [f"audio/{name}" for name, listed in FILES.items() if listed]
    assert [path for path, _ in find_unlabelled(root, SPLITS)] == sorted(wanted)


def test_rows_have_no_labels_and_are_read_back(root: Path) -> None:
    rows = build_unlabelled(root, (), SPLITS)
    first = rows[0]
    assert (first.path, first.source) == ("audio/minetest-data/sounds/player_damage.wav", "minetest-data")
    assert (first.start, first.end, first.labels, first.captions, first.split) == (0.0, 0.5, (), (), "train")
    assert first.licence == get_source("minetest-data").licence
    assert first.sha256 == sha256(root / first.path)
    write(rows, root / FILE)
    assert read(root / FILE, split="train") == rows


def test_copies_near_duplicates_and_silence_leave(root: Path) -> None:
    folder = root / "audio/minetest-data/sounds"
    for copied, name in (("fire_fire.1", "zzz_of_labelled"), ("player_damage", "zzz_again")):
        shutil.copy(folder / f"{copied}.wav", folder / f"{name}.wav")
    soundfile.write(folder / "zzz_silent.wav", np.zeros(4000), 8000)
    labelled = {sha256(folder / "fire_fire.1.wav")}
    rows = build_unlabelled(root, labelled, SPLITS)
    assert [Path(row.path).stem for row in rows] == ["player_damage", "xdecor_bouncy"]
    near = replace(SPLITS, near_duplicates=(rows[0].sha256,))
    assert [Path(row.path).stem for row in build_unlabelled(root, labelled, near)] == ["xdecor_bouncy"]


def test_nothing_unpacked_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="sonopsis data fetch"):
        build_unlabelled(tmp_path, ())
