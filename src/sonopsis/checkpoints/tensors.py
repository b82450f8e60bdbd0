"""The tensors of a published checkpoint, from safetensors, pickles or CTranslate2, by the names the files give them."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from sonopsis.checkpoints.ctranslate2 import is_ctranslate2, read_ctranslate2
from sonopsis.checkpoints.pickles import load_pickle

WRAPPERS = (
    "model",
    "state_dict",
    "model_state_dict",
)  # under which training programs put the tensors beside their settings


def read_tensors(files: Iterable[Path]) -> dict[str, Tensor]:
    """Every named tensor of the files, in the dtype they have there; what else a file holds is left out.

    The tensors may be mapped from the file: copy them before the file can change. Raises ValueError, in one line, for
    a file that is damaged or holds no tensors by name.
    """
    tensors: dict[str, Tensor] = {}
    for file in files:
        if file.suffix == ".safetensors":
            tensors |= _safe_tensors(file)
        else:
            tensors |= read_ctranslate2(file) if is_ctranslate2(file) else _pickled(file)
    return tensors


def _safe_tensors(file: Path) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except SafetensorError as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{file.name} cannot be read ({reason}); copy or fetch it again") from error


def _pickled(file: Path) -> dict[str, Tensor]:
    loaded = load_pickle(file)
    for wrapper in WRAPPERS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(wrapper), Mapping):
            loaded = loaded[wrapper]
    if not isinstance(loaded, Mapping):
        raise ValueError(f"{file.name} holds a {type(loaded).__name__}, not tensors by name")
    return {str(name): value.detach() for name, value in loaded.items() if isinstance(value, Tensor)}
