"""PyTorch's pickled checkpoints, read without running anything that they hold."""

import pickle
import pickletools
import re
import warnings
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING  # Python 2's names, which torch's pickles use
from pathlib import Path
from typing import Any

import torch
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

# Training programs save their settings beside the weights. Objects of these modules are replaced by nothing at all;
# a file that names anything else is not read.
SETTINGS = ("argparse", "EAT", "enum", "examples", "fairseq", "hydra", "numpy", "omegaconf", "pathlib", "typing")
PLAIN = tuple(
    f"builtins.{name}" for name in ("bool", "dict", "float", "frozenset", "int", "list", "object", "str", "tuple")
)
BY_NAME = "builtins.getattr"  # how Python 3.11 pickles a member of an enumeration; it too is replaced by nothing at all
REFUSED = "it asks for {}; only tensors are read from a checkpoint, nothing is run"


class Nothing:
    """Stands for an object that a checkpoint holds beside its tensors: takes what it is given, keeps none of it."""

    def __new__(cls, *args: Any) -> "Nothing":
        return super().__new__(cls)

    def __init__(self, *args: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def empty_dict(*args: Any) -> dict[Any, Any]:
    """Stands for `collections.defaultdict`: its entries, without the function that makes defaults."""
    return {}


def load_pickle(path: Path) -> Any:
    """What `torch.save` wrote: tensors in plain containers, with `Nothing` in place of settings objects.

    Raises ValueError, in one line, for a file of another kind or one that names functions or classes which are neither
    torch's nor settings of a training program; no such name is ever looked up.
    """
    zipped = zipfile.is_zipfile(path)
    try:
        names = get_unsafe_globals_in_checkpoint(path) if zipped else _names_in_old_format(path)
    except Exception as error:  # as below
        raise ValueError(f"it is no PyTorch checkpoint, or a damaged one ({_first_line(error)})") from error
    refused = sorted(name for name in names if not _harmless(name))
    if refused:
        raise ValueError(REFUSED.format(", ".join(refused)))
    allowed: list[Any] = [(empty_dict if name == "collections.defaultdict" else Nothing, name) for name in names]
    try:
        with safe_globals(allowed), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about a pickle's protocol
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        blocked = re.search(r"GLOBAL (\S+)", str(error))
        if blocked is None:  # torch's own text says how to load it unsafely, which is no advice
            raise ValueError("it is no PyTorch checkpoint of tensors alone") from error
        raise ValueError(REFUSED.format(blocked[1])) from error
    except Exception as error:  # a damaged pickle can fail in any way
        raise ValueError(f"it is no PyTorch checkpoint, or a damaged one ({_first_line(error)})") from error


def _names_in_old_format(path: Path) -> list[str]:
    """The harmless functions and classes that a file from before torch's zip format names.

    Such a file starts with four pickles: a number, a version, the system it was written on, and what was saved. They
    are read operation by operation and nothing is run. `torch.load` refuses the other names, torch's few own excepted.
    """
    names = set()
    with path.open("rb") as file:
        for _ in range(4):
            for operation, argument, _ in pickletools.genops(file):
                if operation.name in ("GLOBAL", "INST"):
                    module, name = str(argument).split(" ", 1)
                    module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
                    names.add(f"{module}.{name}")
    return sorted(filter(_harmless, names))


def _harmless(name: str) -> bool:
    settings = name.split(".")[0] in SETTINGS
    return (
        settings
        or name in PLAIN
        or name in (BY_NAME, "collections.defaultdict", "_operator.getitem", "operator.getitem")
    )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
