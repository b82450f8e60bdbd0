"""AudioCaps, Clotho, SLAM-LLM and plain tables: captions, groups, names of clips, and wrong lines."""

from pathlib import Path

import pytest
import soundfile

from sonopsis.data.catalogue import DataError
from sonopsis.data.manifest import Row, read, write
from sonopsis.data.published.layouts import build_rows, find_items

# The columns, ids and times are those of cdjkim/audiocaps; the captions are ours.
AUDIOCAPS = {
    "train.csv": "audiocap_id,youtube_id,start_time,caption\n"
    '91139,r1nicOVtvkQ,130,"A dog barks, then a door closes"\n'
    "58146,-xm8Vo0SUyc,30,Rain falls on a roof\n",
    "val.csv": "audiocap_id,youtube_id,start_time,caption\n97151,vfY_TJq7n_U,130,Ducks quack\n",
    "test.csv": "audiocap_id,youtube_id,start_time,caption\n"
    "103549,7fmOlUlwoNg,20,Something rattles\n103548,7fmOlUlwoNg,20,A rattling noise\n103541,6BJ455B1aAs,0,An engine\n",
}
CLOTHO = {
    "clotho_captions_development.csv": "file_name,caption_1,caption_2,caption_3,caption_4,caption_5\n"
    'Distorted AM Radio noise.wav,A radio hisses,"A radio, badly tuned",Noise of a radio,Static,An old radio hums\n',
    "clotho_captions_validation.csv": "file_name,caption_1,caption_2,caption_3,caption_4,caption_5\n"
    "rain 01.wav,It rains,Rain falls,Rain,A shower of rain,Water falls\n",
    "clotho_captions_evaluation.csv": "file_name,caption_1,caption_2,caption_3,caption_4,caption_5\n"
    "rain 01.wav,A gate,A gate opens,A gate creaks,Metal squeaks,Something squeaks\n",
}
SLAM = {
    "audiocaps_train.jsonl": '{"key": "Yabc_1", "source": "/root/data/AudioCaps/waveforms/train/Yabc.wav", '
    '"target": "Constant rattling"}\n'
    '{"key": "Yabc_2", "source": "/root/data/AudioCaps/waveforms/train/Yabc.wav", "target": "A rattle"}\n',
    "clotho_evaluation_single.jsonl": '{"key": "x_1", "source": "clips/x.wav", "target": "A rocket flies by"}\n',
    "manifest.jsonl": "not a list of the data set\n",
}


def lay_out(root: Path, lists: dict[str, str], *clips: str) -> Path:
    for name, text in lists.items():
        (root / name).write_text(text)
    for number, clip in enumerate(clips):
        (root / clip).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / clip, [0.1, 0.01 * number] * 50, 16_000)
    return root


def rows_of(layout: str, root: Path) -> dict[str, Row]:
    return {row.path: row for row in build_rows(find_items(layout, root), layout, root, 0.0).rows}


@pytest.mark.parametrize("name", ["{}.wav", "Y{}.wav", "{}_20.flac", "Y{}_20_30.wav", "103549.wav"])
def test_the_captions_of_a_clip_of_audiocaps_are_put_together(name: str, tmp_path: Path) -> None:
    clip = f"test/{name.format('7fmOlUlwoNg')}"
    copies = ["test/103548.wav"] if name[0] == "1" else []
    lay_out(tmp_path, AUDIOCAPS, clip, *copies, "train/-xm8Vo0SUyc.wav", "val/vfY_TJq7n_U.wav")
    found = build_rows(find_items("audiocaps", tmp_path), "audiocaps", tmp_path, 0.0)
    rows = {row.path: row for row in found.rows}
    captions = rows[clip].captions + (rows["test/103548.wav"].captions if copies else ())
    assert captions == ("Something rattles", "A rattling noise")
    assert (rows[clip].split, rows[clip].family, rows[clip].labels) == ("test", "7fmOlUlwoNg", ())
    assert {row.split for row in found.rows} == {"train", "validation", "test"}
    assert (found.missing, found.own_validation) == (2, True)


def test_audiocaps_keeps_a_comma_in_a_caption_and_counts_a_missing_clip_once(tmp_path: Path) -> None:
    lay_out(tmp_path, AUDIOCAPS, "train/r1nicOVtvkQ.wav")
    found = build_rows(find_items("audiocaps", tmp_path), "audiocaps", tmp_path)
    assert [row.captions for row in found.rows] == [("A dog barks, then a door closes",)]
    assert found.missing == 4  # of five clips; one of them has two captions


def test_clotho_has_five_captions_and_files_of_the_same_name_in_two_parts(tmp_path: Path) -> None:
    clips = ("development/Distorted AM Radio noise.wav", "validation/rain 01.wav", "evaluation/rain 01.wav")
    rows = rows_of("clotho", lay_out(tmp_path, CLOTHO, *clips))
    assert {path: row.split for path, row in rows.items()} == dict(
        zip(clips, ("train", "validation", "test"), strict=True)
    )
    assert rows[clips[0]].captions == (
        "A radio hisses", "A radio, badly tuned", "Noise of a radio", "Static", "An old radio hums"
    )  # fmt: skip
    assert rows[clips[2]].captions[0] == "A gate"


def test_clotho_version_1_has_no_validation_part(tmp_path: Path) -> None:
    lists = {name: text for name, text in CLOTHO.items() if "validation" not in name}
    rows = rows_of("clotho", lay_out(tmp_path, lists, "development/Distorted AM Radio noise.wav"))
    assert [row.split for row in rows.values()] == ["train"]


def test_slam_lists_are_divided_by_their_names(tmp_path: Path) -> None:
    rows = rows_of("slam", lay_out(tmp_path, SLAM, "waveforms/train/Yabc.wav", "clips/x.wav"))
    assert {path: (row.split, row.captions) for path, row in rows.items()} == {
        "waveforms/train/Yabc.wav": ("train", ("Constant rattling", "A rattle")),
        "clips/x.wav": ("test", ("A rocket flies by",)),
    }


def test_a_table_of_captions_may_name_groups(tmp_path: Path) -> None:
    table = "audio,caption,split\na.wav,A dog,train\nsub/b.wav,A cat,val\na.wav,A bark,train\n"
    rows = rows_of("captions", lay_out(tmp_path, {"captions.csv": table}, "a.wav", "sub/b.wav"))
    assert {path: (row.split, row.captions) for path, row in rows.items()} == {
        "a.wav": ("train", ("A dog", "A bark")), "sub/b.wav": ("validation", ("A cat",)),
    }  # fmt: skip
    (tmp_path / "captions.csv").write_text("audio,caption\na.wav,A dog\n")
    assert [row.split for row in rows_of("captions", tmp_path).values()] == ["train"]


def test_captions_are_read_back_from_the_manifest(tmp_path: Path) -> None:
    rows = list(
        rows_of("captions", lay_out(tmp_path, {"captions.csv": "audio,caption\na.wav,A dog\n"}, "a.wav")).values()
    )
    write(rows, tmp_path / "manifest.jsonl")
    assert read(tmp_path / "manifest.jsonl") == rows
    assert "questions" not in (tmp_path / "manifest.jsonl").read_text()


HEAD = "audiocap_id,youtube_id,start_time,caption\n"
CLOTHO_HEAD = "file_name,caption_1,caption_2,caption_3,caption_4,caption_5\n"


@pytest.mark.parametrize(
    ("layout", "name", "text", "says"),
    [
        ("audiocaps", "train.csv", HEAD + "1,abc,ten,A dog\n", r"train\.csv, line 2: a time must be a number"),
        ("audiocaps", "train.csv", HEAD + "1,abc,10,A dog\n2,abc,10,\n", r"line 3: there is no caption"),
        ("audiocaps", "train.csv", HEAD + "1,abc,10,A dog, a cat\n", r"line 2: expected 4 fields"),
        ("audiocaps", "val.csv", "youtube_id,caption\n", r"line 1: the column 'audiocap_id' is missing"),
        ("clotho", "clotho_captions_evaluation.csv", CLOTHO_HEAD + "a.wav,1,2,3,4,\n", r"line 2: there is no caption"),
        ("slam", "x_train.jsonl", '{"key": "a", "source": "a.wav"}\n', r"line 1: expected .*target"),
        ("slam", "x_train.jsonl", '\n{"key": \n', r"line 2: Expecting value"),
        ("captions", "captions.csv", "audio,caption,split\na.wav,A dog,later\n", r"line 2: the split must be train"),
    ],
)
def test_a_wrong_line_names_its_number(layout: str, name: str, text: str, says: str, tmp_path: Path) -> None:
    lay_out(tmp_path, {name: text}, "abc.wav")
    with pytest.raises(DataError, match=says):
        find_items(layout, tmp_path)
