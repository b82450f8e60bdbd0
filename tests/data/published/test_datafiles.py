"""The lists of AST's and EAT's programs: paths of another machine, folds, several labels, and what is wrong in them."""

import json
from pathlib import Path

import pytest
import soundfile

from sonopsis.data.catalogue import DataError
from sonopsis.data.published.layouts import build_rows, find_items

CLASSES = 'index,mid,display_name\n0,/m/spcmd00,"backward"\n1,/m/spcmd01,"bed"\n'


def clip(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, [0.1] * 100, 16_000)
    return path


def write_ast(root: Path, name: str, *entries: tuple[str, str]) -> None:
    (root / "datafiles").mkdir(exist_ok=True)
    (root / "speechcommands_class_labels_indices.csv").write_text(CLASSES)
    data = {"data": [{"wav": wav, "labels": labels} for wav, labels in entries]}
    (root / "datafiles" / name).write_text(json.dumps(data, indent=1))


def test_ast_files_are_read_with_paths_of_another_machine(tmp_path: Path) -> None:
    for word in ("bed", "backward"):
        clip(tmp_path / "speech_commands_v0.02" / word / "0a_nohash_0.wav")  # the same name under two words
    there = "/data/sls/scratch/speech_commands_v0.02"
    write_ast(tmp_path, "speechcommand_train_data.json", (f"{there}/bed/0a_nohash_0.wav", "/m/spcmd01"))
    write_ast(tmp_path, "speechcommand_valid_data.json", (f"{there}/bed/1b_nohash_0.wav", "/m/spcmd01"))
    write_ast(tmp_path, "speechcommand_eval_data.json", (f"{there}/backward/0a_nohash_0.wav", "/m/spcmd00,/m/spcmd01"))
    items = {item.split: item for item in find_items("ast", tmp_path)}
    assert items["train"].file == tmp_path / "speech_commands_v0.02/bed/0a_nohash_0.wav"
    assert items["train"].labels == ("bed",)
    assert items["validation"].file is None
    assert items["test"].file == tmp_path / "speech_commands_v0.02/backward/0a_nohash_0.wav"
    assert items["test"].labels == ("backward", "bed")


def test_clips_may_lie_outside_the_folder(tmp_path: Path) -> None:
    outside, root = clip(tmp_path / "elsewhere" / "a.wav"), tmp_path / "lists"
    root.mkdir()
    write_ast(root, "train.json", (str(outside), "/m/spcmd01"))
    (row,) = build_rows(find_items("ast", root), "ast", root).rows
    assert root / row.path == outside


def test_a_fold_of_numbered_files_is_read(tmp_path: Path) -> None:
    clip(tmp_path / "a.wav")
    for fold in (1, 2):
        write_ast(tmp_path, f"esc_train_data_{fold}.json", *[("a.wav", "/m/spcmd00")] * fold)
        write_ast(tmp_path, f"esc_eval_data_{fold}.json", ("a.wav", "/m/spcmd00"))
    assert [item.split for item in find_items("ast", tmp_path, 2)] == ["test", "train", "train"]
    with pytest.raises(DataError, match="--fold"):
        find_items("ast", tmp_path)
    with pytest.raises(DataError, match="for fold 3"):
        find_items("ast", tmp_path, 3)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"data": [\n{"wav": "a.wav",\n', "line 3: this is not JSON"),
        ('[{"wav": "a.wav"}]', 'expected {"data"'),
        ('{"data": [{"wav": "a.wav", "labels": "/m/spcmd00"}, {"wav": "a.wav"}]}', "entry 2: expected an object"),
        ('{"data": [{"wav": "a.wav", "labels": "/m/no"}]}', "entry 1: the class '/m/no' is not in the list"),
    ],
)
def test_what_is_wrong_in_a_json_file_is_named(content: str, says: str, tmp_path: Path) -> None:
    clip(tmp_path / "a.wav")
    write_ast(tmp_path, "train.json")
    (tmp_path / "datafiles" / "train.json").write_text(content)
    with pytest.raises(DataError) as raised:
        find_items("ast", tmp_path)
    assert "train.json" in str(raised.value) and says in str(raised.value)


def write_eat(root: Path, split: str, lines: list[str], labels: list[str]) -> None:
    (root / f"{split}.tsv").write_text("/nfs/audioset\n" + "".join(line + "\n" for line in lines))
    (root / f"{split}.lbl").write_text("".join(line + "\n" for line in labels))
    (root / "label_descriptors.csv").write_text('0,/m/09x0r,"Speech"\n1,/m/0bt9lr,Dog\n')


def test_eat_lists_are_read_with_their_labels(tmp_path: Path) -> None:
    clip(tmp_path / "clips" / "Yabc.wav")
    write_eat(tmp_path, "train", ["train.h5/Yabc.wav\t320000"], ["Yabc\t/m/09x0r,/m/0bt9lr"])
    write_eat(tmp_path, "eval", ["eval.h5/Ydef.wav\t320000"], ["Ydef\t/m/0bt9lr"])
    first, second = sorted(find_items("eat", tmp_path), key=lambda item: item.split)
    assert (first.split, first.file, first.labels) == ("test", None, ("Dog",))
    assert (second.split, second.file, second.labels) == ("train", tmp_path / "clips/Yabc.wav", ("Speech", "Dog"))


@pytest.mark.parametrize(
    ("lines", "labels", "says"),
    [
        (["a.wav 100"], [], r"train\.lbl, line 1: train\.tsv lists 1 clips, and this file has 0 lines"),
        (["a.wav 100"], ["a /m/09x0r", "b /m/09x0r"], r"train\.lbl, line 2: "),
        (["a.wav many"], ["a /m/09x0r"], r"train\.tsv, line 2: expected a path and its number of samples"),
        (["a.wav 100"], ["a /m/no"], r"train\.lbl, line 1: the class '/m/no'"),
        (["a.wav 100"], ["a"], r"train\.lbl, line 1: there is no label"),
    ],
)
def test_what_is_wrong_in_eat_lists_is_named(lines: list[str], labels: list[str], says: str, tmp_path: Path) -> None:
    clip(tmp_path / "a.wav")
    write_eat(tmp_path, "train", lines, labels)
    with pytest.raises(DataError, match=says):
        find_items("eat", tmp_path)
