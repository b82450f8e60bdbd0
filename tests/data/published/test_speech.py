"""Speech Commands and VoxCeleb1: wrong lines, clips that are not there, and other roots."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sonopsis.data.catalogue import DataError
from sonopsis.data.published.layouts import find_items

Publish = Callable[[str, Path], Path]


@pytest.mark.parametrize("line", ["yes", "yes/a.mp3", "yes/a b.wav", "data/yes/a.wav"])
def test_a_wrong_line_of_speech_commands_is_named(line: str, published: Publish, tmp_path: Path) -> None:
    with (published("speech-commands", tmp_path) / "testing_list.txt").open("a") as stream:
        stream.write(line + "\n")
    with pytest.raises(DataError, match=r"testing_list\.txt, line 4: expected WORD/NAME\.wav"):
        find_items("speech-commands", tmp_path)


def test_words_are_found_one_folder_deeper(published: Publish, tmp_path: Path) -> None:
    published("speech-commands", tmp_path / "speech_commands_v0.02")
    items = find_items("speech-commands", tmp_path)
    assert len(items) == 9 and all(item.file is not None for item in items)


def test_a_listed_word_that_is_not_there_is_missing(published: Publish, tmp_path: Path) -> None:
    (published("speech-commands", tmp_path) / "no" / "c1d39ce8_nohash_0.wav").unlink()
    (missing,) = (item for item in find_items("speech-commands", tmp_path) if item.file is None)
    assert (missing.labels, missing.split, missing.source) == (("no",), "test", "c1d39ce8")


@pytest.mark.parametrize("line", ["4 id10001/v/00001.wav", "1 id10001/00001.wav", "1 v/id10001/00001.wav", "1"])
def test_a_wrong_line_of_voxceleb1_is_named(line: str, published: Publish, tmp_path: Path) -> None:
    with (published("voxceleb1", tmp_path) / "iden_split.txt").open("a") as stream:
        stream.write(line + "\n")
    with pytest.raises(DataError, match=r"iden_split\.txt, line 7: expected 1, 2 or 3"):
        find_items("voxceleb1", tmp_path)
