"""Eight-bit weights for the tagging graph: products of whole numbers, with scales found clip by clip.

onnxruntime's dynamic quantisation, chosen over calibrating tools because it needs no recordings and the package that
runs the graphs has it. It sees weights only as plain constants, so onnxruntime folds the graph first.
"""

import logging
import shutil
import tempfile
from pathlib import Path

from sonopsis.files import WEIGHTS
from sonopsis.graphs.names import TAG, TAG_INT8
from sonopsis.installed import needed_by, onnx_runtime


def write_int8(folder: Path) -> Path:
    """Write the tagging graph of an exported model folder with its linear weights in int8, all in one file.

    Weights have a scale per output channel, activations one per call. Raises ValueError when onnx is not installed.
    """
    onnxruntime = onnx_runtime()
    with needed_by("an int8 graph"):
        from onnxruntime.quantization import QuantType, quantize_dynamic
    with tempfile.TemporaryDirectory() as scratch:
        folded = Path(scratch) / TAG
        shutil.copyfile(folder / WEIGHTS, Path(scratch) / WEIGHTS)  # what is not folded is still read from there
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(folded)
        onnxruntime.InferenceSession(folder / TAG, options, providers=["CPUExecutionProvider"])
        products = ["MatMul", "Gemm"]
        logging.disable(logging.WARNING)  # it asks for a step that is for static quantisation
        try:
            quantize_dynamic(folded, folder / TAG_INT8, products, per_channel=True, weight_type=QuantType.QInt8)
        finally:
            logging.disable(logging.NOTSET)
    return folder / TAG_INT8
