"""Token pruning in a Hugging Face model that is already in memory, put on in place and taken off exactly.

transformers is not imported: a model is known by the names of its classes and the parts of its layers. What changes is
`forward` of the pruning layers and of their attention, as attributes of these objects; classes, weights, hooks and
every other layer stay as they are.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MethodType
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sonopsis.pruning.config import Pruning, kept_count, uniform
from sonopsis.pruning.scores import attention_column, attention_weights, cls_row
from sonopsis.pruning.select import take, topk, with_prefix

Model = TypeVar("Model", bound=nn.Module)

# Models whose heads read the prefix tokens alone. Those that rebuild all patches cannot work with fewer.
SUPPORTED = (
    "ASTModel",
    "ASTForAudioClassification",
    "ViTModel",
    "ViTForImageClassification",
    "ViTMSNModel",
    "ViTMSNForImageClassification",
    "DeiTModel",
    "DeiTForImageClassification",
    "DeiTForImageClassificationWithTeacher",
)
LAYER_PARTS = ("attention", "layernorm_before", "layernorm_after", "mlp", "dropout")
ATTENTION_PARTS = ("q_proj", "k_proj", "v_proj", "o_proj", "head_dim")
ANOTHER_VERSION = "is not built as in transformers 5.23, for which prune() is made; install that or a newer version"
RULES: dict[str, Callable[[Tensor, int], Tensor]] = {"cls": cls_row, "attention": attention_column}
TRACE = "sonopsis_trace"


def prune(model: Model, keep_rate: float | Pruning = 0.7) -> Model:
    """Make a Hugging Face AST, ViT, ViT-MSN or DeiT drop patches, in place (arXiv 2504.01690, section 3); returns it.

    A rate is the share of patches that survives each of three blocks (a quarter, a half and three quarters of the
    depth); a `Pruning` names blocks, rates and score, of which the default is attention of CLS. Prefix tokens always
    stay. Pruning again replaces what was there; a rate of 1 is the model itself.

    After each forward `model.sonopsis_trace` holds, per pruning block, the surviving patches (B, K) int64, ascending,
    numbered as the model's own embeddings number them (AST: frequency-major).
    Raises ValueError, without touching the model, when it or the pruning is not supported.
    """
    body = _body(model)
    pruning = keep_rate if isinstance(keep_rate, Pruning) else uniform(len(body.layers), keep_rate)
    rates = {} if pruning is None else dict(sorted(pruning.keep.items()))
    score: object = "cls" if pruning is None or pruning.score is None else pruning.score
    reducer: str = "topk" if pruning is None else pruning.reduce
    if not isinstance(score, str) or score not in RULES or reducer != "topk":
        raise ValueError(
            f"prune() has no score {score!r} with reducer {reducer!r}; choose one of {tuple(RULES)} and 'topk'"
        )
    beyond = [block for block in rates if block >= len(body.layers)]
    if beyond:
        raise ValueError(f"pruning blocks {beyond} do not exist: this model has blocks 0-{len(body.layers) - 1}")
    layers = [body.layers[block] for block in rates]
    for block, layer in zip(rates, layers, strict=True):
        _check_layer(block, layer)

    restore(model)
    prefix = 2 if hasattr(body.embeddings, "distillation_token") else 1
    trace = Trace(len(rates), [model, body])
    for stage, (layer, rate) in enumerate(zip(layers, rates.values(), strict=True)):
        _PruningLayer(layer, prefix, rate, score, stage, trace).attach()
    for owner in trace.owners:
        setattr(owner, TRACE, trace)
    return model


def restore(model: Model) -> Model:
    """Undo `prune`: the model computes what it did before, bit for bit. Changes nothing in a model not pruned.

    Raises ValueError when the model is not supported, or something else was put over the pruned layers since.
    """
    body = _body(model)
    pruned = [layer for layer in body.layers if _attached(layer) is not None]
    trace = getattr(body, TRACE, Trace(0, []))
    if len(pruned) != len(trace):
        raise ValueError(
            "forward of a pruned layer was replaced after prune(); undo that first "
            "(accelerate: remove_hook_from_module(model, recurse=True)), then restore()"
        )
    for layer in pruned:
        del layer.forward, layer.attention.forward
    for owner in trace.owners:
        vars(owner).pop(TRACE, None)
    return model


class Trace(Sequence[Tensor]):
    """Survivors (B, K) int64 of each pruning block in the last forward, as patches of the input, ascending.

    `owners` are the modules that hold it: the model that was pruned, and the part of it that has the layers.
    """

    def __init__(self, stages: int, owners: list[nn.Module]) -> None:
        self.owners = owners
        self._chosen = [torch.empty(0, 0, dtype=torch.int64)] * stages  # of the patches that entered the block

    def record(self, stage: int, index: Tensor) -> None:
        """Note which (B, K) of the patches that entered a block survive it."""
        self._chosen[stage] = index

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, stage: Any) -> Any:
        """Followed back to the input here, not in the forward, which other threads may run at the same time."""
        patches: list[Tensor] = []
        for index in self._chosen:
            patches.append(patches[-1].gather(1, index) if patches else index)
        return patches[stage]


@dataclass
class _PruningLayer:
    """The two `forward` of one layer that drops patches between attention and MLP."""

    layer: Any
    prefix: int
    rate: float
    score: str
    stage: int  # place in the trace
    trace: Trace

    def attach(self) -> None:
        self.layer.forward = self.forward
        self.layer.attention.forward = self.attend

    def forward(self, hidden_states: Tensor, attention_mask: Any = None, **kwargs: Any) -> Tensor:
        """(B, P + N, D) -> (B, P + K, D); the layer's own forward where all patches stay."""
        left = hidden_states.shape[1] - self.prefix
        if kept_count(left, self.rate) == left:
            every = torch.arange(left, device=hidden_states.device)
            self.trace.record(self.stage, every.expand(hidden_states.shape[0], -1))
            out: Tensor = type(self.layer).forward(self.layer, hidden_states, attention_mask, **kwargs)
            return out
        if attention_mask is not None:
            raise ValueError(
                "a pruned model cannot follow an attention mask, which has a row for each patch; leave attention_mask "
                "out (flex_attention and torch.export make one: choose 'sdpa', torch.compile), or restore() the model"
            )
        if self.layer.training and getattr(self.layer, "gradient_checkpointing", False):
            out = self.layer._gradient_checkpointing_func(self._run, hidden_states)
            return out
        return self._run(hidden_states)

    def attend(self, hidden_states: Tensor, attention_mask: Any = None, **kwargs: Any) -> tuple[Any, ...]:
        """(B, P + N, D) -> output rows of the survivors (B, P + K, D), weights or None, survivors (B, K).

        Weights (B, H, P + N, P + N) are returned where the model's own attention would: with the eager implementation.
        Elsewhere the CLS rule computes one row of them, and queries of dropped patches are never computed.
        """
        attention, left = self.layer.attention, hidden_states.shape[1] - self.prefix
        kept = kept_count(left, self.rate)
        if kept == left:
            own: tuple[Any, ...] = type(attention).forward(attention, hidden_states, attention_mask, **kwargs)
            return own
        eager = attention.config._attn_implementation == "eager"
        dropout = attention.attention_dropout if attention.training else 0.0
        k, v = self._heads(attention.k_proj(hidden_states)), self._heads(attention.v_proj(hidden_states))
        if self.score == "cls" and not eager:
            cls = self._heads(attention.q_proj(hidden_states[:, :1]))  # (B, H, 1, D/H)
            index = topk(cls_row(attention_weights(cls, k), self.prefix), kept)
            q = self._heads(attention.q_proj(take(hidden_states, with_prefix(index, self.prefix))))
            out, weights = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout), None
        else:
            q = self._heads(attention.q_proj(hidden_states))
            weights = attention_weights(q, k)  # (B, H, P + N, P + N)
            index = topk(RULES[self.score](weights, self.prefix), kept)
            weights = F.dropout(weights, dropout).to(v.dtype)
            out = take(weights, with_prefix(index, self.prefix)) @ v
        out = attention.o_proj(out.transpose(1, 2).flatten(2))  # (B, P + K, D)
        return out, weights if eager else None, index

    def _run(self, x: Tensor) -> Tensor:
        layer = self.layer
        out, _, index = layer.attention(layer.layernorm_before(x))
        self.trace.record(self.stage, index)
        x = take(x, with_prefix(index, self.prefix)) + layer.dropout(out)  # (B, P + K, D)
        out = layer.dropout(layer.mlp(layer.layernorm_after(x)))
        return x + out

    def _heads(self, rows: Tensor) -> Tensor:
        return rows.unflatten(-1, (-1, self.layer.attention.head_dim)).transpose(1, 2)  # (B, H, T, D/H)


def _body(model: nn.Module) -> Any:
    """The part of a supported model that has the layers. Raises ValueError for any other."""
    names = {kind.__name__ for kind in type(model).__mro__}
    if not names & set(SUPPORTED):
        raise ValueError(
            f"prune() and restore() know {', '.join(SUPPORTED)} of transformers, not {type(model).__name__}; "
            "if your model contains one of them, give that part"
        )
    body: Any = getattr(model, str(getattr(model, "base_model_prefix", "")), model)
    if not hasattr(body, "embeddings") or not hasattr(body, "layers"):
        raise ValueError(f"this {type(body).__name__} {ANOTHER_VERSION}")
    return body


def _check_layer(block: int, layer: nn.Module) -> None:
    attention = getattr(layer, "attention", None)
    missing = [name for name in LAYER_PARTS if not hasattr(layer, name)]
    missing += [f"attention.{name}" for name in ATTENTION_PARTS if not hasattr(attention, name)]
    if missing:
        raise ValueError(f"block {block} has no {', '.join(missing)}: this {type(layer).__name__} {ANOTHER_VERSION}")
    if _attached(layer) is None and any(_is_replaced(part) for part in (layer, attention)):
        raise ValueError(
            f"forward of block {block} is already replaced; prune() before accelerate dispatches the model"
        )


def _attached(layer: nn.Module) -> _PruningLayer | None:
    """What `prune` put on this layer, if both forwards are still its own."""
    owners = [
        getattr(vars(part).get("forward"), "__self__", None) for part in (layer, getattr(layer, "attention", layer))
    ]
    return owners[0] if isinstance(owners[0], _PruningLayer) and owners[0] is owners[1] else None


def _is_replaced(part: Any) -> bool:
    own = MethodType(type(part).forward, part)  # accelerate leaves this behind where it removes its hooks
    return bool(vars(part).get("forward", own) != own)
