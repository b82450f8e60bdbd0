"""Nothing that a pickle holds is ever run, and settings beside the tensors are passed over."""

import argparse
import os
import pickle
import sys
from collections import defaultdict
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from sonopsis.checkpoints import read_checkpoint
from sonopsis.checkpoints.pickles import Nothing, load_pickle
from sonopsis.files import ModelError


class Payload:
    """Unpickled, it makes a folder: proof that code ran."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def write_zip(path: Path, content: Any) -> None:
    torch.save(content, path)


def write_legacy(path: Path, content: Any) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


def write_plain(path: Path, content: Any) -> None:
    path.write_bytes(pickle.dumps(content, protocol=2))


@pytest.mark.parametrize("write", [write_zip, write_legacy, write_plain])
@pytest.mark.parametrize("function", [os.mkdir, os.system, eval, exec], ids=lambda f: f.__name__)
def test_a_malicious_pickle_is_refused_in_one_line_and_not_run(write: Any, function: Any, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    arguments = {
        "mkdir": (str(proof),),
        "system": (f"mkdir {proof}",),
        "eval": (f"__import__('os').mkdir({str(proof)!r})",),
        "exec": (f"import os; os.mkdir({str(proof)!r})",),
    }[function.__name__]
    file = tmp_path / "checkpoint.pth"
    write(file, {"model": {"v.cls_token": torch.zeros(1)}, "args": Payload(function, *arguments)})
    with pytest.raises(ModelError) as caught:
        read_checkpoint(file)
    message = str(caught.value)
    assert message.startswith(f"{file}: ") and "\n" not in message
    assert not proof.exists()
    pickle.loads(pickle.dumps(Payload(os.mkdir, str(proof))))  # the payload does what it says
    assert proof.exists()


@pytest.mark.parametrize("write", [write_zip, write_legacy])
def test_a_member_of_an_enumeration_is_not_looked_up(write: Any, tmp_path: Path) -> None:
    """Python 3.11 pickles it as a call of getattr, which could look up anything."""
    write(tmp_path / "x.pt", {"w": torch.ones(2), "args": Payload(getattr, "", "join")})
    found = load_pickle(tmp_path / "x.pt")
    assert torch.equal(found["w"], torch.ones(2)) and isinstance(found["args"], Nothing)


@pytest.mark.parametrize("zipped", [True, False])
def test_settings_beside_the_weights_are_passed_over_without_their_program(
    zipped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Objects of packages that are not installed where they are read: nothing is imported, the objects are dropped."""
    file, weights = tmp_path / "checkpoint.pt", torch.randn(3)

    class DictConfig:
        def __init__(self) -> None:
            self._metadata = {"ref_type": dict, "key_type": Any}

    class Choice(Enum):
        ONE = 1

    with monkeypatch.context() as patch:
        for name, member in (("omegaconf", DictConfig), ("fairseq", Choice)):
            module = ModuleType(name)
            setattr(module, member.__name__, member)
            member.__module__, member.__qualname__ = name, member.__name__
            patch.setitem(sys.modules, name, module)
        content: dict[str, Any] = {
            "model": {"w": weights},
            "args": argparse.Namespace(lr=1e-3, path=Path("data")),
            "cfg": DictConfig(),
            "choice": Choice.ONE,
            "history": defaultdict(list, {"loss": [np.float64(0.5), np.arange(3)]}),
        }
        torch.save(content, file, _use_new_zipfile_serialization=zipped)
    assert torch.equal(load_pickle(file)["model"]["w"], weights)
    assert "omegaconf" not in sys.modules


@pytest.mark.parametrize("write", [write_zip, write_legacy])
def test_a_function_of_a_settings_package_is_not_called_either(write: Any, tmp_path: Path) -> None:
    write(tmp_path / "x.pt", {"w": torch.ones(2), "args": Payload(np.save, str(tmp_path / "proof.npy"), 1)})
    assert torch.equal(load_pickle(tmp_path / "x.pt")["w"], torch.ones(2))
    assert not (tmp_path / "proof.npy").exists()
