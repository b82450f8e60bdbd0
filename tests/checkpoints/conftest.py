"""Files of other programs, written by hand."""

import struct
from collections.abc import Callable

import numpy as np
import pytest

CODES = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4}


@pytest.fixture(scope="session")
def model_bin() -> Callable[[dict[str, np.ndarray]], bytes]:
    """Arrays by name -> the bytes of a `model.bin` of CTranslate2, version 6."""
    return _model_bin


def _model_bin(arrays: dict[str, np.ndarray]) -> bytes:
    data = struct.pack("<I", 6) + _string("WhisperSpec") + struct.pack("<II", 3, len(arrays))
    for name, values in arrays.items():
        values = np.ascontiguousarray(values).reshape(values.shape)
        data += _string(name) + struct.pack("<B", values.ndim) + struct.pack(f"<{values.ndim}I", *values.shape)
        data += struct.pack("<BI", CODES[values.dtype.name], values.nbytes) + values.tobytes()
    return data + struct.pack("<I", 0)


def _string(text: str) -> bytes:
    return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"
