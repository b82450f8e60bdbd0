"""Which clips a study takes."""

import shutil
from pathlib import Path

import pytest

import sonopsis
from sonopsis.model import Model
from sonopsis.study.clips import find_clips, groups_of


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Model:
    return sonopsis.load(tiny_model, engine="torch")


def test_a_folder_for_each_label_will_do_whatever_the_case(model: Model, root: Path, tmp_path: Path) -> None:
    for label in ("dog", "WATER", "tractor"):
        for take in range(4):
            place = tmp_path / label / f"room{take}_{take}.wav"
            place.parent.mkdir(exist_ok=True)
            shutil.copy(root / "audio/test/Dog-0.wav", place)
    found = find_clips(model, tmp_path, None)
    assert [model.labels[label] for label in found.present] == ["Dog", "Water"]
    assert (len(found.clips), found.left_out, found.split) == (8, 4, "all")
    assert found.mels(model, found.clips[0])[0].shape[2] == 128


def test_a_limit_draws_the_same_clips(model: Model, root: Path) -> None:
    whole, drawn = (find_clips(model, root / "manifest.jsonl", limit=limit) for limit in (None, 4))
    assert len(drawn.clips) == 4 and set(drawn.clips) < set(whole.clips)
    assert drawn == find_clips(model, root / "manifest.jsonl", limit=4)
    assert drawn.digest != whole.digest


def test_labels_that_the_model_does_not_know_are_named(model: Model, root: Path, tmp_path: Path) -> None:
    text = (root / "manifest.jsonl").read_text()
    lines = [line.replace('"Cattle, bovinae"', '"Moo"') for line in text.splitlines() if "Cattle" in line]
    (tmp_path / "m.jsonl").write_text("\n".join(lines))
    with pytest.raises(ValueError, match=r"its labels are Moo, the model's are Dog, Cat.*choose another --split"):
        find_clips(model, tmp_path / "m.jsonl")


def test_intervals_draw_the_coarsest_groups_of_which_there_are_enough() -> None:
    rows = [{"clip": str(i), "source": str(i % 3), "family": str(i % 6)} for i in range(12)]
    assert groups_of(rows)[0] == "family"
    assert groups_of([{**row, "source": row["family"]} for row in rows])[0] == "source"
    assert groups_of([{**row, "family": "one"} for row in rows]) == ("clip", [str(i) for i in range(12)])
