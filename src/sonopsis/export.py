"""`sonopsis export`: a model written for other programs, and for our engines without torch."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from sonopsis.folder import WEIGHTS, write_description

if TYPE_CHECKING:
    from sonopsis.model import Model


def export_onnx(model: "Model", folder: Path) -> list[Path]:
    """Write a model folder with ONNX graphs beside its weights, which onnxruntime and OpenVINO both run.

    Returns the graphs. Another program's weights are stored in float32, those of a folder of ours as they are there.
    Raises ValueError when onnx is not installed.
    """
    from sonopsis.graphs.write import write_graphs

    own = model.folder
    write_description(folder, own.config, own.mel)
    if own.weights.name == WEIGHTS and own.file is None:
        for file in (own.weights, own.tokenizer, own.path / "README.md"):
            if file is not None and file.is_file() and file.resolve() != (folder / file.name).resolve():
                shutil.copyfile(file, folder / file.name)
    else:
        from safetensors.torch import save_file

        state = {name: tensor.float().contiguous() for name, tensor in model.module.state_dict().items()}
        save_file(state, folder / WEIGHTS)
    return write_graphs(own.config, folder / WEIGHTS)
