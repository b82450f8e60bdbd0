"""A Mamba-2 language model prepared for generation: weights in their final precision, steps as machine code."""

import logging
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import numpy as np
import torch
from torch import Tensor, nn

from sonopsis.installed import installed
from sonopsis.mamba2.adapters import adapter_names
from sonopsis.mamba2.block import Layer, StepWeights
from sonopsis.mamba2.cache import Cache
from sonopsis.mamba2.kernels.weights import (
    PRECISIONS,
    Floats,
    LayerParameters,
    Matrix,
    Precision,
    State,
    Weights,
)
from sonopsis.mamba2.model import Decoder, Mamba2LM
from sonopsis.mamba2.stored import StoredLinear, has_bfloat16_products
from sonopsis.unfilled import unfilled

if TYPE_CHECKING:
    from sonopsis.mamba2.kernels.language_model import CompiledLM

Kernels = Literal["auto", "torch", "numba"]
BFLOAT16_PROMPTS = ("bfloat16", "int8")  # precisions whose prompts are read in bfloat16 where that is fast
log = logging.getLogger(__name__)


class PreparedLM(Mamba2LM):
    """A copy of a language model that reads and generates but does not learn; `Mamba2LM.prepare` makes one.

    Weights keep the precision they were given: loading others or moving to another device afterwards does not reach the
    kernels; prepare again instead.
    """

    def __init__(self, lm: Mamba2LM, precision: Precision = "float32", kernels: Kernels = "auto") -> None:
        if precision not in PRECISIONS:
            raise ValueError(f"precision {precision!r} is unknown; choose from {', '.join(PRECISIONS)}")
        if kernels not in get_args(Kernels):
            raise ValueError(f"kernels {kernels!r} are unknown; choose from {', '.join(get_args(Kernels))}")
        if adapter_names(lm, unmerged_only=True):
            raise ValueError("adapters would be lost; make them part of the weights with sonopsis.lora.merge first")
        device = lm.backbone.embedding.weight.device
        compiled = kernels != "torch" and device.type == "cpu" and installed("numba")
        if kernels == "numba" and not compiled:
            raise ValueError('kernels="numba" need a model on the CPU and `pip install "sonopsis[fast]"`')
        if kernels == "auto" and not compiled and device.type == "cpu":
            _tell_once()
        with unfilled():
            super().__init__(lm.config)
        self.precision = precision
        state = {name: tensor.detach().float().cpu() for name, tensor in lm.state_dict().items()}
        self._take_parameters(state)
        weights = self._store(state, precision)
        bfloat16 = precision in BFLOAT16_PROMPTS and (device.type != "cpu" or has_bfloat16_products())
        self._take_weights(weights, torch.bfloat16 if bfloat16 else torch.float32, compiled)
        self.requires_grad_(False).to(device).eval()
        self.compiled = _compile(weights) if compiled else None

    @property
    def kernels(self) -> str:
        """What decodes, "numba" or "torch"."""
        return "torch" if self.compiled is None else "numba"

    def embed(self, ids: Tensor) -> Tensor:
        """Token ids (...) int64 -> embeddings (..., E) float32."""
        return self.table.rows(ids)

    def decoder(self, cache: Cache) -> Decoder:
        """What continues `cache`, in place."""
        return Decoder(self, cache) if self.compiled is None else CompiledDecoder(self, self.compiled, cache)

    def save(self, folder: str | Path) -> None:
        """Raises ValueError: a prepared copy has rounded weights; save the model it was prepared from."""
        raise ValueError("a prepared language model is not saved; save the model that it was prepared from")

    def _store(self, state: dict[str, Tensor], precision: Precision) -> Weights:
        """Rounded copies of the matrices, and the small parameters, from a float32 state dict."""
        layers = [cast(Layer, layer) for layer in self.backbone.layers]
        in_proj, out_proj = (
            Matrix.store(
                np.stack([state[f"backbone.layers.{i}.mixer.{name}.weight"].numpy() for i in range(len(layers))]),
                precision,
            )
            for name in ("in_proj", "out_proj")
        )
        embedding = Matrix.store(state["backbone.embedding.weight"].numpy(), precision)
        tied = self.config.tie_embeddings
        head = embedding if tied else Matrix.store(state["lm_head.weight"].numpy(), precision)
        steps = StepWeights(
            *(torch.stack(rows) for rows in zip(*(layer.mixer.step_weights() for layer in layers), strict=True))
        )
        parameters = LayerParameters(
            norm=torch.stack([layer.norm.weight.detach() for layer in layers]).numpy(),
            taps=steps.taps.numpy(),
            bias=steps.bias.numpy(),
            dt_bias=steps.dt_bias.numpy(),
            A=steps.A.numpy(),
            D=steps.D.numpy(),
            gate_norm=torch.stack([layer.mixer.norm.weight.detach() for layer in layers]).numpy(),
            eps=np.float32(self.config.norm_eps),
            groups=self.config.groups,
        )
        norm_f = self.backbone.norm_f.weight.detach().numpy()
        return Weights(embedding, head, in_proj, out_proj, parameters, norm_f)

    def _take_parameters(self, state: dict[str, Tensor]) -> None:
        """Copies of all parameters but the matrices."""
        small = {name: tensor.clone() for name, tensor in state.items() if tensor.ndim == 1 or "conv1d" in name}
        self.load_state_dict(small, strict=False, assign=True)

    def _take_weights(self, weights: Weights, dtype: torch.dtype, compiled: bool) -> None:
        """Projections, head and embedding that share the memory of `weights` and compute in `dtype`."""
        for index, layer in enumerate(cast(Iterable[Layer], self.backbone.layers)):
            layer.mixer.in_proj = StoredLinear(weights.in_proj.layer(index), dtype, compiled)
            layer.mixer.out_proj = StoredLinear(weights.out_proj.layer(index), dtype, compiled)
        self.lm_head = head = StoredLinear(weights.head, dtype, compiled)
        tied = weights.embedding is weights.head
        self.table = head if tied else StoredLinear(weights.embedding, dtype, compiled)
        self.backbone.embedding.weight = nn.Parameter(torch.empty(0, self.config.width), requires_grad=False)

    def _through_layers(self, x: Tensor, cache: Cache | None, lengths: Tensor | None) -> Tensor:
        """The residual (B, L, E) after all layers: products with the projections, and compiled code between them."""
        wanted = torch.is_grad_enabled() and x.requires_grad
        if self.compiled is None or wanted or x.device.type != "cpu":
            return super()._through_layers(x, cache, lengths)
        from sonopsis.mamba2.kernels.matmul import ProductMemory
        from sonopsis.mamba2.kernels.prompt import PromptMemory

        config, compiled, threads = self.config, self.compiled, torch.get_num_threads()
        cache = self.new_cache(x.shape[0]) if cache is None else cache
        cache.conv, cache.ssm = cache.conv.contiguous(), cache.ssm.contiguous()
        batch, length, width = x.shape
        ends = (torch.full((batch,), length) if lengths is None else lengths.to("cpu", torch.int64)).numpy()
        rows, dtype = batch * length, self.lm_head.weight.dtype
        projected_width = config.inner + config.conv_channels + config.heads
        normed, added, projected = (
            torch.zeros(rows, size, dtype=dtype) for size in (width, width, projected_width)
        )  # (B L, E), (B L, E), (B L, projected)
        products = ProductMemory.new(threads, max(width, config.inner), rows)
        memory = PromptMemory.new(config, batch, length, bfloat16=dtype == torch.bfloat16)
        y = torch.from_numpy(memory.out).view(dtype).view(rows, config.inner)
        residual = x.detach().clone(memory_format=torch.contiguous_format).view(rows, width)
        for index, layer in enumerate(cast(Iterable[Layer], self.backbone.layers)):
            in_proj, out_proj = (cast(StoredLinear, linear) for linear in (layer.mixer.in_proj, layer.mixer.out_proj))
            compiled.add_and_norm(index, residual.numpy(), _bits(added), _bits(normed), threads)
            in_proj.multiply(normed, projected, products)
            state = State(*(tensor.numpy() for tensor in cache.layer(index)))
            compiled.mix(index, _bits(projected).reshape(batch, length, -1), state, ends, memory, threads)
            out_proj.multiply(y, added, products)
        return residual.add_(added).view(batch, length, width)


class CompiledDecoder(Decoder):
    """A `Decoder` whose steps are compiled."""

    def __init__(self, model: Mamba2LM, compiled: "CompiledLM", cache: Cache) -> None:
        cache.check(model.config)
        if cache.ssm.device.type != "cpu":
            raise ValueError("the kernels decode on the CPU; give a cache on the CPU, or prepare with kernels='torch'")
        self.model = model
        self.cache = cache
        self.compiled = compiled

    def advance(self, ids: Tensor) -> Tensor:
        """Append ids (B,) int64 to the sequences; logits (B, V) of what follows."""
        return torch.from_numpy(self.step(ids.cpu().numpy()))

    def step(self, ids: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> Floats:
        """`advance` for NumPy."""
        self.cache.conv, self.cache.ssm = self.cache.conv.contiguous(), self.cache.ssm.contiguous()
        return self.compiled.step(ids, State(self.cache.conv.numpy(), self.cache.ssm.numpy()), torch.get_num_threads())


def _compile(weights: Weights) -> "CompiledLM":
    from sonopsis.mamba2.kernels.language_model import CompiledLM  # which needs numba

    return CompiledLM(weights)


def _bits(tensor: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[Any]]:
    """A float32 tensor as it is; the bits of a bfloat16 one as uint16, since NumPy has no such numbers."""
    return tensor.view(torch.uint16).numpy() if tensor.dtype == torch.bfloat16 else tensor.numpy()


@cache
def _tell_once() -> None:
    log.warning(
        'numba is not installed: words are decoded by torch, several times slower; pip install "sonopsis[fast]"'
    )
