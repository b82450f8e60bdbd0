"""AudioSet and VGGSound: names of clips in use, and wrong lines."""

from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile

from sonopsis.data.catalogue import DataError
from sonopsis.data.published.clip_folder import ClipFolder
from sonopsis.data.published.layouts import find_items
from sonopsis.data.published.youtube import read_vggsound

Publish = Callable[[str, Path], Path]


@pytest.mark.parametrize(
    "name",
    ["{}.wav", "Y{}.wav", "{}_0.000_10.000.wav", "Y{}_0.000_10.000.wav", "{}_0_10.flac", "{}_0_10000.wav", "{}_0.wav"],
)
def test_clips_are_found_under_the_names_that_tools_give(name: str, published: Publish, tmp_path: Path) -> None:
    published("audioset-20k", tmp_path)
    clip = tmp_path / "balanced_train_segments/-_video0000.wav"
    samples, rate = soundfile.read(clip)
    clip.unlink()
    other = tmp_path / "train" / "0" / name.format("-_video0000")
    other.parent.mkdir(parents=True)
    soundfile.write(other, samples, rate)
    first = find_items("audioset-20k", tmp_path)[0]
    assert (first.file, first.source) == (other, "-_video0000")


def test_stretches_of_one_video_keep_apart(tmp_path: Path) -> None:
    (tmp_path / "vggsound.csv").write_text("abc,1,people marching,train\nabc,30,people marching,test\n")
    for start in (1, 30):
        soundfile.write(tmp_path / f"abc_{start:06d}.wav", [0.1] * 100, 16_000)
    files = [item.file for item in read_vggsound(ClipFolder(tmp_path))]
    assert files == [tmp_path / "abc_000001.wav", tmp_path / "abc_000030.wav"]


def test_vggsound_has_labels_with_commas(tmp_path: Path) -> None:
    (tmp_path / "vggsound.csv").write_text(
        '---g-f_I2yQ,1,"cattle, bovinae cowbell",test\n--0PQM4-hqg,30,waterfall,train\n'
    )
    soundfile.write(tmp_path / "---g-f_I2yQ_1000_11000.wav", [0.1] * 100, 16_000)
    first, second = find_items("vggsound", tmp_path)
    assert (first.labels, first.split) == (("cattle, bovinae cowbell",), "test") and first.file is not None
    assert (second.labels, second.split, second.file) == (("waterfall",), "train", None)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("abc, 0.000, 10.000", "expected 4 fields"),
        ('abc, zero, 10.000, "/m/09x0r"', "number of seconds"),
        ('abc, 0.000, 10.000, "/m/nothing"', "'/m/nothing' is not in the list"),
        ('abc, 0.000, 10.000, ""', "no label"),
        (', 0.000, 10.000, "/m/09x0r"', "no id"),
        ('abc, 0.000, 10.000, "/m/09x0r', "not CSV"),
    ],
)
def test_a_wrong_line_of_audioset_is_named(line: str, says: str, published: Publish, tmp_path: Path) -> None:
    with (published("audioset-20k", tmp_path) / "eval_segments.csv").open("a") as stream:
        stream.write(line + "\n")
    with pytest.raises(DataError, match=rf"eval_segments\.csv, line 6: .*{says}"):
        find_items("audioset-20k", tmp_path)


@pytest.mark.parametrize("line", ["abc,1,waterfall", "abc,x,waterfall,test", "abc,1,waterfall,valid", "abc,1,,test"])
def test_a_wrong_line_of_vggsound_is_named(line: str, tmp_path: Path) -> None:
    (tmp_path / "vggsound.csv").write_text("--0PQM4-hqg,30,waterfall,train\n\n" + line + "\n")
    with pytest.raises(DataError, match=r"vggsound\.csv, line 3: "):
        find_items("vggsound", tmp_path)


def test_all_of_audioset_needs_the_unbalanced_list_too(published: Publish, tmp_path: Path) -> None:
    published("audioset-20k", tmp_path)
    with pytest.raises(DataError, match=r"unbalanced_train_segments\.csv"):
        find_items("audioset-2m", tmp_path)
    soundfile.write(tmp_path / "zzz.wav", [0.1] * 100, 16_000)
    (tmp_path / "unbalanced_train_segments.csv").write_text('# head\nzzz, 0.000, 10.000, "/m/0bt9lr"\n')
    items = find_items("audioset-2m", tmp_path)
    assert len(items) == 9 and items[-1].file == tmp_path / "zzz.wav" and items[-1].split == "train"
