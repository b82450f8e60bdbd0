"""What the graphs of a model folder are called; they lie beside its weights, which they refer to.

    tag.onnx       mel, kept -> logits and the survivors of each stage; computes only what the head reads
    tag.int8.onnx  the same with weights in int8, if it was asked for; the only one with weights of its own
    encode.onnx    mel, kept -> logits (if there is a head), tokens, prefix, survivors of each stage
    caption.onnx   mel, kept -> logits, prompt (B, L, E)                      \
    prefill.onnx   embeds, states -> logits over the vocabulary, states        > models that caption
    step.onnx      ids, states -> logits over the vocabulary, states          /
    graphs.json    which weights they were written for

NumPy and the standard library only.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

TAG, ENCODE, CAPTION, PREFILL, STEP = "tag.onnx", "encode.onnx", "caption.onnx", "prefill.onnx", "step.onnx"
TAG_INT8 = "tag.int8.onnx"
GRAPHS = (TAG, TAG_INT8, ENCODE, CAPTION, PREFILL, STEP)
STAMP = "graphs.json"
VERSION = 1  # of the graphs' inputs and outputs


def read_header(weights: Path) -> tuple[int, dict[str, Any]]:
    """Where the data of a safetensors file begins, and its tensors: dtype, shape and data_offsets by name."""
    text = _header(weights)
    header: dict[str, Any] = json.loads(text)
    header.pop("__metadata__", None)
    return 8 + len(text), header


def stamp(weights: Path) -> dict[str, Any]:
    """What ties graphs to the layout of a safetensors file, into which they point by offset."""
    return {"version": VERSION, "weights_header": hashlib.sha256(_header(weights)).hexdigest()}


def _header(weights: Path) -> bytes:
    with open(weights, "rb") as stream:
        return stream.read(int.from_bytes(stream.read(8), "little"))
