"""ESC-50 and FSD50K: labels, groups, and wrong lines."""

from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile

from sonopsis.data.catalogue import DataError
from sonopsis.data.published.layouts import find_items

Publish = Callable[[str, Path], Path]


def publish_fsd50k(root: Path) -> Path:
    lists = {
        "dev.csv": "fname,labels,mids,split\n"
        '64760,"Electric_guitar,Guitar,Plucked_string_instrument","/m/02sgy,/m/0342h,/m/0fx80y",train\n'
        "16399,Bark,/m/05tny_,val\n",
        "eval.csv": 'fname,labels,mids\n37199,"Bark,Dog","/m/05tny_,/m/0bt9lr"\n',
    }
    (root / "FSD50K.ground_truth").mkdir(parents=True)
    for name, text in lists.items():
        (root / "FSD50K.ground_truth" / name).write_text(text)
    for clip in ("FSD50K.dev_audio/64760", "FSD50K.dev_audio/16399", "FSD50K.eval_audio/37199"):
        (root / clip).parent.mkdir(exist_ok=True)
        soundfile.write(root / f"{clip}.wav", [0.1] * 100, 44_100)
    return root


def test_fsd50k_has_three_groups_and_several_labels(tmp_path: Path) -> None:
    items = find_items("fsd50k", publish_fsd50k(tmp_path))
    assert [(item.labels, item.split) for item in items] == [
        (("Electric_guitar", "Guitar", "Plucked_string_instrument"), "train"),
        (("Bark",), "validation"),
        (("Bark", "Dog"), "test"),
    ]
    assert [item.file for item in items] == [
        tmp_path / "FSD50K.dev_audio/64760.wav",
        tmp_path / "FSD50K.dev_audio/16399.wav",
        tmp_path / "FSD50K.eval_audio/37199.wav",
    ]


@pytest.mark.parametrize(
    ("line", "says"),
    [("1,Bark,/m/05tny_", "expected 4"), ("1,Bark,/m/x,test", "train or val"), ("1,,x,val", "no label")],
)
def test_a_wrong_line_of_fsd50k_is_named(line: str, says: str, tmp_path: Path) -> None:
    with (publish_fsd50k(tmp_path) / "FSD50K.ground_truth" / "dev.csv").open("a") as stream:
        stream.write(line + "\n")
    with pytest.raises(DataError, match=rf"dev\.csv, line 4: .*{says}"):
        find_items("fsd50k", tmp_path)


@pytest.mark.parametrize(("line", "says"), [("a.wav,6,0,dog,True,1,A", "1 to 5"), ("a.wav,1,0", "expected 7 fields")])
def test_a_wrong_line_of_esc50_is_named(line: str, says: str, published: Publish, tmp_path: Path) -> None:
    with (published("esc50", tmp_path) / "meta" / "esc50.csv").open("a") as stream:
        stream.write(line + "\n")
    with pytest.raises(DataError, match=rf"esc50\.csv, line 12: .*{says}"):
        find_items("esc50", tmp_path, 1)


def test_a_missing_column_is_named(published: Publish, tmp_path: Path) -> None:
    (published("esc50", tmp_path) / "meta" / "esc50.csv").write_text("filename,fold,target,label\na.wav,1,0,dog\n")
    with pytest.raises(DataError, match=r"esc50\.csv, line 1: the column 'category' is missing"):
        find_items("esc50", tmp_path, 1)


def test_there_is_no_sixth_fold(published: Publish, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="1 to 5, not 6"):
        find_items("esc50", published("esc50", tmp_path), 6)
