"""Whole data sets in their published layouts -> rows: labels, groups, sources, and what is missing."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonopsis.data.catalogue import DataError
from sonopsis.data.manifest import Row, read, write
from sonopsis.data.published.layouts import LAYOUTS, build_rows, draw_validation, find_items

Publish = Callable[[str, Path], Path]


def rows_of(layout: str, root: Path, fold: int | None = None, validation: float = 0.0) -> list[Row]:
    return build_rows(find_items(layout, root, fold), layout, root, validation).rows


def test_audioset_keeps_all_labels_of_a_clip_by_their_names(published: Publish, tmp_path: Path) -> None:
    rows = rows_of("audioset-20k", published("audioset-20k", tmp_path))
    assert Counter(row.split for row in rows) == {"train": 6, "test": 2}
    by_path = {row.path: row for row in rows}
    speech = by_path["balanced_train_segments/-_video0000.wav"]
    assert speech.labels == ("Speech", "Male speech, man speaking") and speech.end == 10.0
    assert (speech.source, speech.family) == ("audioset-20k", "-_video0000")
    assert by_path["eval_segments/-_video0007.wav"].labels == ("Dog",)


def test_one_fold_of_esc50_is_held_out(published: Publish, tmp_path: Path) -> None:
    published("esc50", tmp_path)
    for fold in (1, 5):
        rows = rows_of("esc50", tmp_path, fold)
        assert {row.path[6] for row in rows if row.split == "test"} == {str(fold)}
        assert Counter(row.split for row in rows) == {"train": 8, "test": 2}
    assert {row.labels for row in rows} == {("dog",), ("chirping_birds",)}
    assert rows[0].family == "100010"


def test_speech_commands_are_divided_by_its_lists_without_the_noise(published: Publish, tmp_path: Path) -> None:
    rows = rows_of("speech-commands", published("speech-commands", tmp_path))
    assert {row.family: row.split for row in rows} == {
        "004ae714": "train", "0132a06d": "validation", "c1d39ce8": "test"
    }  # fmt: skip
    assert {row.labels[0] for row in rows} == {"yes", "no", "up"} and len(rows) == 9


def test_voxceleb1_is_divided_by_video(published: Publish, tmp_path: Path) -> None:
    rows = rows_of("voxceleb1", published("voxceleb1", tmp_path))
    assert {(row.labels[0], row.family, row.split) for row in rows} == {
        (who, f"{who}/video{number}", split)
        for who in ("id10001", "id10002")
        for number, split in ((1, "train"), (2, "validation"), (3, "test"))
    }


def test_missing_and_unreadable_clips_are_counted(published: Publish, tmp_path: Path) -> None:
    published("esc50", tmp_path)
    clips = sorted((tmp_path / "audio").iterdir())
    clips[0].unlink()
    clips[1].write_bytes(b"no sound")
    found = build_rows(find_items("esc50", tmp_path, 5), "esc50", tmp_path)
    assert (len(found.rows), found.missing, found.unreadable, found.own_validation) == (8, 1, 1, False)


def test_a_folder_without_any_clip_is_an_error(published: Publish, tmp_path: Path) -> None:
    for clip in (published("esc50", tmp_path) / "audio").iterdir():
        clip.unlink()
    with pytest.raises(DataError, match="none of the 10 clips"):
        find_items("esc50", tmp_path, 1)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_folder_without_lists_says_which_file_is_missing(layout: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"(?s)there is no .*(csv|txt|json)"):
        find_items(layout, tmp_path, 1 if layout == "esc50" else None)


@pytest.mark.parametrize(
    ("layout", "fold", "says"), [("birds", None, "esc50"), ("esc50", None, "--fold"), ("vggsound", 1, "no folds")]
)
def test_wrong_layouts_and_folds_are_refused(layout: str, fold: int | None, says: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=says):
        find_items(layout, tmp_path, fold)


def test_the_manifest_is_read_back_in_its_groups(published: Publish, tmp_path: Path) -> None:
    rows = rows_of("speech-commands", published("speech-commands", tmp_path))
    write(rows, tmp_path / "manifest.jsonl")
    assert read(tmp_path / "manifest.jsonl") == rows
    assert {row.family for row in read(tmp_path / "manifest.jsonl", "validation")} == {"0132a06d"}


def test_an_own_validation_part_stays_as_it_is(published: Publish, tmp_path: Path) -> None:
    published("voxceleb1", tmp_path)
    assert rows_of("voxceleb1", tmp_path, validation=0.5) == rows_of("voxceleb1", tmp_path)


def row(family: str, label: str, split: str = "train") -> Row:
    return Row(f"{family}.wav", 0.0, 1.0, (label,), (), "x", family, "", split, "0" * 64)  # type: ignore[arg-type]


@given(
    st.lists(st.tuples(st.integers(0, 20), st.sampled_from("abc"), st.sampled_from(["train", "test"])), max_size=60),
    st.floats(0, 0.9),
)
def test_whole_sources_are_drawn_and_every_label_stays(clips: list[tuple[int, str, str]], share: float) -> None:
    rows = [row(str(family), label, split) for family, label, split in clips]
    drawn = draw_validation(rows, share)
    before, after = ([one for one in some if one.split == "train"] for some in (rows, drawn))
    assert {one.labels for one in before} == {one.labels for one in after}
    assert not {one.family for one in after} & {one.family for one in drawn if one.split == "validation"}
    assert len(before) - len(after) <= share * len(before)
    assert [one.split == "test" for one in rows] == [one.split == "test" for one in drawn]


def test_about_the_share_that_was_asked_for_is_drawn() -> None:
    rows = [row(str(number), "ab"[number % 2]) for number in range(200)]
    assert Counter(one.split for one in draw_validation(rows, 0.1)) == {"train": 180, "validation": 20}
