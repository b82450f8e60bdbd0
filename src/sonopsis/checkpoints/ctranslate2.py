"""CTranslate2's `model.bin`: the tensors of a converted model by their names, version 6 of the format.

    uint32 version, string specification, uint32 revision, uint32 count
    count times: string name, uint8 rank, uint32 each dimension, uint8 type, uint32 bytes, data
    aliases, which are not read

A string is a uint16 length that counts its final zero, then the bytes. All numbers are little-endian.
"""

import struct
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

VERSION = 6
TYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
MOST_DIMENSIONS = 8
SCALE = "_scale"  # a matrix of integers has beside it, by its name and this, what its rows were multiplied by


def is_ctranslate2(file: Path) -> bool:
    """Whether a file begins as a converted model does: with a small version number, which no pickle or zip does."""
    with file.open("rb") as stream:
        head = stream.read(4)
    return len(head) == 4 and 1 <= struct.unpack("<I", head)[0] <= 64


def read_ctranslate2(file: Path, prefix: str = "encoder/") -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix`, in float32, those of integers divided by their scales.

    Raises ValueError for a file of another version or one that is damaged.
    """
    reader = _Reader(file.read_bytes(), file.name)
    version = reader.number("I")
    if version != VERSION:
        raise ValueError(f"{file.name} has version {version} of CTranslate2's format; convert the model to {VERSION}")
    reader.string()
    reader.number("I")
    found: dict[str, np.ndarray] = {}
    for _ in range(reader.number("I")):
        name, values = reader.variable()
        if name.startswith(prefix):
            found[name] = values
    return {name: _floats(name, found) for name in found if not name.endswith(SCALE)}


class _Reader:
    """Reads a buffer from front to back; what would lie behind its end is a ValueError."""

    def __init__(self, data: bytes, name: str) -> None:
        self.data, self.name, self.place = data, name, 0

    def take(self, size: int) -> memoryview:
        if self.place + size > len(self.data):
            raise ValueError(f"{self.name} ends too early; copy or fetch it again")
        self.place += size
        return memoryview(self.data)[self.place - size : self.place]

    def number(self, kind: str) -> int:
        value: int = struct.unpack("<" + kind, self.take(struct.calcsize("<" + kind)))[0]
        return value

    def string(self) -> str:
        return bytes(self.take(self.number("H"))).rstrip(b"\0").decode("utf-8")

    def variable(self) -> tuple[str, np.ndarray]:
        name, rank = self.string(), self.number("B")
        if rank > MOST_DIMENSIONS:
            raise ValueError(f"{self.name}: {name!r} has {rank} dimensions; copy or fetch the file again")
        shape = [self.number("I") for _ in range(rank)]
        kind, size = self.number("B"), self.number("I")
        if kind not in TYPES:
            raise ValueError(f"{self.name}: {name!r} is of an unknown type ({kind})")
        dtype = np.dtype(TYPES[kind])
        count = 1
        for length in shape:
            count *= length  # Python's integers: the product of such lengths cannot overflow
        if count * dtype.itemsize != size:
            raise ValueError(f"{self.name}: {name!r} has {size} bytes, not those of {shape}; copy or fetch it again")
        return name, np.frombuffer(self.take(size), dtype).reshape(shape)


def _floats(name: str, found: dict[str, np.ndarray]) -> Tensor:
    values = found[name]
    scale = found.get(name + SCALE)
    if not values.ndim or not np.issubdtype(values.dtype, np.integer):
        return torch.from_numpy(values.astype(np.float32))
    if scale is None or scale.size not in (1, len(values)) or not (scale > 0).all():
        raise ValueError(f"{name!r} are {values.dtype} without a positive scale for all or each of {len(values)} rows")
    rows = scale.astype(np.float32).reshape([-1] + [1] * (values.ndim - 1))
    return torch.from_numpy(values.astype(np.float32) / rows)
