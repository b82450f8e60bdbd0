"""A Mamba-2 language model prepared for generation: weights in their final precision, steps as machine code."""

import logging
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from typing import Any, Literal, cast, get_args

import numpy as np
import torch
from torch import Tensor

from sonopsis.mamba2.block import Layer, StepWeights
from sonopsis.mamba2.cache import Cache
from sonopsis.mamba2.kernels.packed import PRECISIONS, Floats, Matrix, Packed, Precision, Scratch
from sonopsis.mamba2.model import Decoder, Mamba2LM
from sonopsis.unfilled import unfilled

Kernels = Literal["auto", "torch", "numba"]
READ_IN = {"bfloat16": torch.bfloat16, "int8": torch.bfloat16}  # what torch multiplies by, float32 otherwise
log = logging.getLogger(__name__)


class PreparedLM(Mamba2LM):
    """A copy of a language model that reads and generates but does not learn; `Mamba2LM.prepare` makes one.

    Torch multiplies by the projections when a prompt is read; compiled kernels do the rest of that in float32, and
    decode at every precision, or torch does. Weights keep the precision they were given: loading others or moving to
    another device afterwards does not reach the kernels; prepare again instead.
    """

    def __init__(self, lm: Mamba2LM, precision: Precision = "float32", kernels: Kernels = "auto") -> None:
        if precision not in PRECISIONS:
            raise ValueError(f"precision {precision!r} is unknown; choose from {', '.join(PRECISIONS)}")
        if kernels not in get_args(Kernels):
            raise ValueError(f"kernels {kernels!r} are unknown; choose from {', '.join(get_args(Kernels))}")
        from sonopsis.lora.model import has_unmerged  # which imports this package

        if has_unmerged(lm):
            raise ValueError("adapters would be lost; make them part of the weights with sonopsis.lora.merge first")
        device = lm.backbone.embedding.weight.device
        compiled = kernels != "torch" and device.type == "cpu" and _has_numba()
        if kernels == "numba" and not compiled:
            raise ValueError('kernels="numba" need a model on the CPU and `pip install "sonopsis[fast]"`')
        if kernels == "auto" and not compiled and device.type == "cpu":
            _tell_once()
        with unfilled():
            super().__init__(lm.config)
        state = {name: tensor.detach().float().cpu() for name, tensor in lm.state_dict().items()}
        small = {name: tensor.clone() for name, tensor in state.items() if tensor.ndim == 1 or "conv1d" in name}
        inputs, outputs = (
            Matrix.pack(
                np.stack([state[f"backbone.layers.{i}.mixer.{name}.weight"].numpy() for i in range(self.config.depth)]),
                precision,
            )
            for name in ("in_proj", "out_proj")
        )
        table = Matrix.pack(state["backbone.embedding.weight"].numpy(), precision)
        head = table if self.config.tie_embeddings else Matrix.pack(state["lm_head.weight"].numpy(), precision)
        dtype = READ_IN.get(precision, torch.float32)
        read = {"backbone.embedding.weight": _tensor(table, dtype)}
        if not self.config.tie_embeddings:
            read["lm_head.weight"] = _tensor(head, dtype)
        for name, matrix in (("in_proj", inputs), ("out_proj", outputs)):
            for i, weight in enumerate(_tensor(matrix, dtype)):
                read[f"backbone.layers.{i}.mixer.{name}.weight"] = weight
        self.load_state_dict({**small, **read}, assign=True)
        self.requires_grad_(False).to(device).eval()
        self.precision = precision
        self.packed = self._pack(table, head, inputs, outputs) if compiled else None

    @property
    def kernels(self) -> str:
        """What decodes, "numba" or "torch"."""
        return "torch" if self.packed is None else "numba"

    def decoder(self, cache: Cache) -> Decoder:
        """What continues `cache`, in place."""
        return Decoder(self, cache) if self.packed is None else PackedDecoder(self, self.packed, cache)

    def _through_layers(self, x: Tensor, cache: Cache | None, lengths: Tensor | None) -> Tensor:
        """Torch multiplies by the projections; compiled code does what lies between them."""
        wanted = torch.is_grad_enabled() and x.requires_grad
        if self.packed is None or wanted or x.device.type != "cpu":
            return super()._through_layers(x, cache, lengths)
        config, packed = self.config, self.packed
        cache = self.new_cache(x.shape[0]) if cache is None else cache
        cache.conv, cache.ssm = cache.conv.contiguous(), cache.ssm.contiguous()
        batch, length, width = x.shape
        ends = (torch.full((batch,), length) if lengths is None else lengths.to("cpu", torch.int64)).numpy()
        rows, dtype, threads = batch * length, self.lm_head.weight.dtype, torch.get_num_threads()
        projected_width = config.inner + config.conv_channels + config.heads
        normed, added, projected = (
            torch.zeros(rows, size, dtype=dtype) for size in (width, width, projected_width)
        )  # (B L, E), (B L, E), (B L, projected)
        scratch = Scratch.new(config, batch, length, narrow=dtype == torch.bfloat16)
        y = torch.from_numpy(scratch.out).view(dtype).view(rows, config.inner)
        x = x.detach().clone(memory_format=torch.contiguous_format).view(rows, width)
        for index, layer in enumerate(cast(Iterable[Layer], self.backbone.layers)):
            packed.enter(index, x.numpy(), _bits(added), _bits(normed), threads)
            torch.mm(normed, layer.mixer.in_proj.weight.T, out=projected)
            conv, ssm = (state.numpy() for state in cache.layer(index))
            packed.scan(index, _bits(projected).reshape(batch, length, -1), conv, ssm, ends, scratch, threads)
            torch.mm(y, layer.mixer.out_proj.weight.T, out=added)
        return x.add_(added).view(batch, length, width)

    def _pack(self, table: Matrix, head: Matrix, inputs: Matrix, outputs: Matrix) -> Packed:
        layers = [cast(Layer, layer) for layer in self.backbone.layers]
        steps = StepWeights(
            *(torch.stack(rows) for rows in zip(*(la.mixer.step_weights() for la in layers), strict=True))
        )
        return Packed(
            table=table,
            head=head,
            norm_f=self.backbone.norm_f.weight.numpy(),
            norms=torch.stack([layer.norm.weight for layer in layers]).numpy(),
            inputs=inputs,
            taps=steps.taps.numpy(),
            biases=steps.bias.numpy(),
            dt_biases=steps.dt_bias.numpy(),
            decays=steps.A.numpy(),
            skips=steps.D.numpy(),
            gate_norms=torch.stack([layer.mixer.norm.weight for layer in layers]).numpy(),
            outputs=outputs,
            eps=self.config.norm_eps,
            groups=self.config.groups,
        )


class PackedDecoder(Decoder):
    """A `Decoder` whose steps are compiled."""

    def __init__(self, model: Mamba2LM, packed: Packed, cache: Cache) -> None:
        cache.check(model.config)
        if cache.ssm.device.type != "cpu":
            raise ValueError("the kernels decode on the CPU; give a cache on the CPU, or prepare with kernels='torch'")
        self.model = model
        self.cache = cache
        self.packed = packed

    def advance(self, ids: Tensor) -> Tensor:
        """Append ids (B,) int64 to the sequences; logits (B, V) of what follows."""
        return torch.from_numpy(self.step(ids.cpu().numpy()))

    def step(self, ids: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> Floats:
        """`advance` for NumPy."""
        self.cache.conv, self.cache.ssm = self.cache.conv.contiguous(), self.cache.ssm.contiguous()
        return self.packed.step(ids, self.cache.conv.numpy(), self.cache.ssm.numpy(), torch.get_num_threads())


def _tensor(matrix: Matrix, dtype: torch.dtype) -> Tensor:
    """The weights that decoding multiplies by as a tensor, without a copy where both store them alike."""
    if matrix.data.dtype == np.float32:
        return torch.from_numpy(matrix.data)
    if matrix.data.dtype == np.uint16:
        return torch.from_numpy(matrix.data.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(matrix.unpack()).to(dtype)


def _bits(tensor: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[Any]]:
    """A float32 tensor as it is; the bits of a bfloat16 one as uint16, since NumPy has no such numbers."""
    return tensor.view(torch.uint16).numpy() if tensor.dtype == torch.bfloat16 else tensor.numpy()


def _has_numba() -> bool:
    try:
        return find_spec("numba") is not None
    except ValueError:  # a module whose import was barred
        return False


@cache
def _tell_once() -> None:
    log.warning(
        'numba is not installed: words are decoded by torch, several times slower; pip install "sonopsis[fast]"'
    )
