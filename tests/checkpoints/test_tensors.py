"""Tensors from safetensors files, shards and pickles."""

import argparse
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sonopsis.checkpoints.tensors import read_tensors


@pytest.mark.parametrize("wrapped", [False, True])
def test_tensors_keep_their_names_and_dtypes(tmp_path: Path, wrapped: bool) -> None:
    tensors = {"a": torch.randn(2, 3), "b": torch.randn(4).to(torch.bfloat16), "c": torch.arange(3)}
    save_file(tensors, tmp_path / "model.safetensors")
    saved = {"model": tensors, "args": argparse.Namespace(lr=0.1), "epoch": 3} if wrapped else tensors
    torch.save(saved, tmp_path / "best.pth")
    for file in ("model.safetensors", "best.pth"):
        found = read_tensors([tmp_path / file])
        assert found.keys() == tensors.keys()
        assert all(torch.equal(found[name], tensors[name]) for name in tensors)
        assert all(found[name].dtype == tensors[name].dtype for name in tensors)


def test_shards_are_joined(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "1.safetensors")
    save_file({"b": torch.zeros(2)}, tmp_path / "2.safetensors")
    assert read_tensors([tmp_path / "1.safetensors", tmp_path / "2.safetensors"]).keys() == {"a", "b"}


def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path) -> None:
    for name in ("model.safetensors", "best.pth"):
        (tmp_path / name).write_bytes(b"not tensors")
        with pytest.raises(ValueError) as caught:
            read_tensors([tmp_path / name])
        assert "\n" not in str(caught.value)
    torch.save([torch.ones(2)], tmp_path / "best.pth")
    with pytest.raises(ValueError, match="holds a list"):
        read_tensors([tmp_path / "best.pth"])
