"""What a Mamba-2 model remembers of the positions read so far: the same number of bytes whatever their number."""

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from sonopsis.mamba2.config import Mamba2Config


class Cache:
    """The state of every layer for a batch of sequences, updated in place by the model.

    conv (layers, B, taps - 1, channels): the last inputs of the convolution; ssm (layers, B, h, p, n): the recurrent
    state. Both float32. No gradient flows through a cache.
    """

    def __init__(self, conv: Tensor, ssm: Tensor) -> None:
        self.conv = conv
        self.ssm = ssm

    @classmethod
    def new(cls, config: Mamba2Config, batch: int = 1, device: torch.device | str | None = None) -> "Cache":
        """The state before the first position."""
        conv = (config.depth, batch, config.conv - 1, config.conv_channels)
        ssm = (config.depth, batch, config.heads, config.head_dim, config.state)
        with torch.inference_mode(False):  # so that it may be used inside and outside of inference mode
            return cls(torch.zeros(conv, device=device), torch.zeros(ssm, device=device))

    @classmethod
    def load(cls, file: str | Path, device: torch.device | str = "cpu") -> "Cache":
        """A cache written by `save`; raises ValueError if the file is something else."""
        try:
            tensors = load_file(file, device=str(device))
            return cls(tensors["conv"], tensors["ssm"])
        except (KeyError, SafetensorError) as error:
            raise ValueError(f"{file} holds no Mamba-2 cache; give a file written by Cache.save") from error

    def save(self, file: str | Path) -> None:
        """Write what was read so far to a safetensors file, to continue another day without reading it again."""
        save_file({"conv": self.conv, "ssm": self.ssm}, file)

    @property
    def batch(self) -> int:
        """Number of sequences."""
        return self.ssm.shape[1]

    @property
    def nbytes(self) -> int:
        """Bytes held, constant in the number of positions read."""
        return self.conv.nbytes + self.ssm.nbytes

    def layer(self, index: int) -> tuple[Tensor, Tensor]:
        """Views of one layer: conv (B, taps - 1, channels) and ssm (B, h, p, n)."""
        return self.conv[index], self.ssm[index]

    def check(self, config: Mamba2Config) -> None:
        """Raise ValueError unless the sizes are those of a model with this config."""
        wanted = Cache.new(config, self.batch, "meta")
        for name, own, other in (("conv", self.conv, wanted.conv), ("ssm", self.ssm, wanted.ssm)):
            if own.shape != other.shape:
                raise ValueError(
                    f"the cache is another model's: its {name} is {tuple(own.shape)}, this model's {tuple(other.shape)}"
                )

    def fork(self, copies: int = 1) -> "Cache":
        """An independent cache with each sequence `copies` times in a row: read once, continue in several ways."""
        if copies < 1:
            raise ValueError(f"copies must be at least 1, not {copies}")
        with torch.inference_mode(False), torch.no_grad():
            return Cache(self.conv.repeat_interleave(copies, 1), self.ssm.repeat_interleave(copies, 1))

    def reorder(self, rows: Sequence[int] | Tensor) -> None:
        """Keep the sequences `rows` in that order; a row may be repeated or left out, so the batch may change."""
        with torch.inference_mode(False), torch.no_grad():
            index = torch.as_tensor(rows, dtype=torch.int64, device=self.ssm.device)
            self.conv = self.conv.index_select(1, index)
            self.ssm = self.ssm.index_select(1, index)
