"""Where clips and lists of a folder are: by the end of a path, through links, and never guessed between two."""

from pathlib import Path

import pytest

from sonopsis.data.catalogue import DataError
from sonopsis.data.published.clip_folder import ClipFolder


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_clips_are_found_by_the_end_of_their_path_and_any_suffix(tmp_path: Path) -> None:
    first, second = touch(tmp_path / "x/a/1.FLAC"), touch(tmp_path / "x/b/1.wav")
    dotted = touch(tmp_path / "v_0.000_10.000.wav")
    folder = ClipFolder(tmp_path)
    assert folder.find("a/1.wav", 2) == first and folder.find("elsewhere/b/1", 2) == second
    assert folder.find("v_0.000_10.000") == dotted
    assert folder.find("1.wav") is None  # two of this name
    assert folder.find_longest("C:\\data\\x\\b\\1.wav") == second
    assert folder.find_longest("no/2.wav") is None


def test_links_are_followed_and_circles_are_not(tmp_path: Path) -> None:
    clip, root = touch(tmp_path / "disk/1.wav"), tmp_path / "root"
    root.mkdir()
    (root / "audio").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "back").symlink_to(root)
    folder = ClipFolder(root)
    assert [file.resolve() for file in folder.audio] == [clip]


def test_the_least_deep_list_counts_and_caches_do_not(tmp_path: Path) -> None:
    touch(tmp_path / "deep/eval.csv")
    touch(tmp_path / "cache/old.csv")
    listed = touch(tmp_path / "z/eval.csv")
    listed.rename(tmp_path / "eval.csv")
    assert ClipFolder(tmp_path).list_named("eval.csv") == tmp_path / "eval.csv"
    with pytest.raises(DataError, match=r"there is no old\.csv"):
        ClipFolder(tmp_path).list_named("old.csv")


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no folder"):
        ClipFolder(touch(tmp_path / "a.wav"))
