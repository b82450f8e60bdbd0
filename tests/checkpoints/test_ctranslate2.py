"""CTranslate2's file: what is in it is found, and what is wrong with it is said."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sonopsis.checkpoints.ctranslate2 import is_ctranslate2, read_ctranslate2

Write = Callable[[dict[str, np.ndarray]], bytes]
ARRAYS = {
    "decoder/weight": np.ones((2, 2), np.float32),
    "encoder/float": np.arange(6, dtype=np.float32).reshape(2, 3),
    "encoder/half": np.array([0.5, -2], np.float16),
    "encoder/rows": np.array([[1, -2], [127, 0]], np.int8),
    "encoder/rows_scale": np.array([2, 127], np.float32),
    "encoder/whole": np.array([[100, -200]], np.int16),
    "encoder/whole_scale": np.array(10, np.float32),
    "encoder/heads": np.array(6, np.int8),
}


@pytest.fixture
def read(tmp_path: Path) -> Callable[[bytes], dict[str, torch.Tensor]]:
    """Bytes of a file -> what is read of it."""

    def from_bytes(data: bytes) -> dict[str, torch.Tensor]:
        (tmp_path / "model.bin").write_bytes(data)
        return read_ctranslate2(tmp_path / "model.bin")

    return from_bytes


def test_tensors_of_every_type_are_read_as_float32(model_bin: Write, read: Callable) -> None:
    found = read(model_bin(ARRAYS))
    assert {name: tensor.tolist() for name, tensor in found.items()} == {
        "encoder/float": [[0, 1, 2], [3, 4, 5]],
        "encoder/half": [0.5, -2],
        "encoder/rows": [[0.5, -1], [1, 0]],
        "encoder/whole": [[10, -20]],
        "encoder/heads": 6,
    }
    assert all(tensor.dtype == torch.float32 for tensor in found.values())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"encoder/rows_scale": np.ones(3, np.float32)}, "without a positive scale"),
        ({"encoder/rows_scale": np.zeros(2, np.float32)}, "without a positive scale"),
        ({"encoder/rows_scale": np.array([1, np.nan], np.float32)}, "without a positive scale"),
        ({"encoder/more": np.ones((2, 2), np.int8)}, "without a positive scale"),
        ({"encoder/deep": np.ones((1,) * 9, np.float32)}, "9 dimensions"),
    ],
)
def test_what_makes_no_weights_is_refused(
    change: dict[str, np.ndarray], words: str, model_bin: Write, read: Callable
) -> None:
    with pytest.raises(ValueError, match=words):
        read(model_bin(ARRAYS | change))


def test_another_version_type_or_length_is_refused(model_bin: Write, read: Callable) -> None:
    data = model_bin({"encoder/a": np.ones(3, np.float32)})
    place = data.index(struct.pack("<BI", 0, 12))  # type and bytes
    for changed, words in (
        (struct.pack("<I", 5) + data[4:], "version 5"),
        (data[:place] + b"\x09" + data[place + 1 :], "unknown type"),
        (data[: place + 1] + struct.pack("<I", 8) + data[place + 5 :], "8 bytes, not those of"),
    ):
        with pytest.raises(ValueError, match=words):
            read(changed)


@given(st.data())
def test_damage_is_a_value_error_or_changes_values_alone(
    model_bin: Write, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    whole = bytearray(model_bin(ARRAYS))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    file = tmp_path_factory.getbasetemp() / "damaged.bin"
    file.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    try:
        found = read_ctranslate2(file)
    except ValueError as error:
        assert "\n" not in str(error)
    else:
        assert all(tensor.dtype == torch.float32 for tensor in found.values())


def test_it_is_told_from_a_pickle(model_bin: Write, tmp_path: Path) -> None:
    file = tmp_path / "model.bin"
    file.write_bytes(model_bin({}))
    assert is_ctranslate2(file)
    for zipped in (True, False):
        torch.save({"a": torch.ones(2)}, file, _use_new_zipfile_serialization=zipped)
        assert not is_ctranslate2(file)
