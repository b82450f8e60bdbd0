"""Low-rank adapters (arXiv 2106.09685) on the projections of a Mamba-2 language model, in PEFT's file format.

PEFT itself refuses `out_proj` of Mamba-2, because fused kernels read that weight past the module; our mixer calls its
projections as modules, so both can be adapted, and so can one part of `in_proj`, which makes [z | x | B | C | dt].

    attach(lm, LoRAConfig(rank=8)); train; save(lm, folder)            load(lm, folder); merge(lm)
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from sonopsis.mamba2.block import Mixer
from sonopsis.mamba2.config import Mamba2Config
from sonopsis.mamba2.model import Mamba2LM

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."  # what PEFT puts before the names of the adapted model's modules
MODULES = ("in_proj", "out_proj")

# What the fields of an adapter_config.json must be, where present, for the mathematics here to be right.
PEFT_FIXED: dict[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "bias": ("none",),
    "fan_in_fan_out": (False,),
    "use_dora": (False,),
    "use_rslora": (False,),
    "lora_bias": (False,),
    "modules_to_save": (None, []),
    "layer_replication": (None, []),
    "target_parameters": (None, []),
    "trainable_token_indices": (None, []),
    "alora_invocation_tokens": (None, []),
    "init_lora_weights": (True, False, "gaussian", "orthogonal", "eva"),  # the others change the weights beneath too
}


@dataclass(frozen=True)
class LoRAConfig:
    """What `attach` adds: rank, alpha (None: twice the rank, as in the paper), dropout before the adapters, targets.

    A target is "in_proj", "out_proj", or one part of the first: "in_proj.z", ".x", ".B", ".C", ".dt".
    """

    rank: int = 8
    alpha: float | None = None
    dropout: float = 0.0
    targets: tuple[str, ...] = MODULES

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"a LoRA rank must be at least 1, not {self.rank}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"LoRA dropout must lie in [0, 1), not {self.dropout}")

    @property
    def scale_alpha(self) -> float:
        """Alpha with its default filled in."""
        return 2.0 * self.rank if self.alpha is None else float(self.alpha)


def target_rows(config: Mamba2Config) -> dict[str, tuple[int, int]]:
    """Every target that exists and the rows of its projection's weight that it adapts."""
    sizes = {
        "z": config.inner,
        "x": config.inner,
        "B": config.groups * config.state,
        "C": config.groups * config.state,
        "dt": config.heads,
    }
    rows, start = {}, 0
    for part, size in sizes.items():
        rows[f"in_proj.{part}"] = (start, start + size)
        start += size
    return {"in_proj": (0, start), **rows, "out_proj": (0, config.width)}


class Adapter(nn.Module):
    """x -> scale * B A dropout(x), added to some rows of a projection; B starts at zero, a change of nothing."""

    def __init__(self, weight: Tensor, rows: tuple[int, int], rank: int, alpha: float, dropout: float) -> None:
        super().__init__()
        self.rows, self.rank, self.alpha = rows, rank, alpha
        dtype = torch.promote_types(weight.dtype, torch.float32)  # low precision is for weights that stay as they are
        self.dropout = nn.Dropout(dropout)
        self.lora_A = nn.Parameter(torch.empty(rank, weight.shape[1], dtype=dtype, device=weight.device))
        self.lora_B = nn.Parameter(torch.zeros(rows[1] - rows[0], rank, dtype=dtype, device=weight.device))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))

    @property
    def scale(self) -> float:
        return self.alpha / self.rank

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., rows)."""
        return F.linear(F.linear(self.dropout(x.to(self.lora_A.dtype)), self.lora_A), self.lora_B) * self.scale


class LoRALinear(nn.Linear):
    """A projection without bias and its adapters; `weight` is the very parameter of the projection it replaces."""

    unmerged: Tensor | None

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(linear.in_features, linear.out_features, bias=False, device="meta")
        self.weight = linear.weight
        self.adapters = nn.ModuleDict()
        self.register_buffer("unmerged", None, persistent=False)  # the weight as it was, while adapters are merged
        self.train(linear.training)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out) in the dtype of the weight, or of autocast."""
        y = F.linear(x, self.weight)
        if self.unmerged is None:
            for adapter in self._adapters():
                y[..., slice(*adapter.rows)] += adapter(x).to(y.dtype)
        elif self.training and torch.is_grad_enabled():
            raise ValueError("merged adapters get no gradient; call sonopsis.lora.unmerge before training")
        return y

    @torch.no_grad()
    def merge(self) -> None:
        """Add the adapters to the weight, keeping a copy of what it was."""
        if self.unmerged is None:
            self.unmerged = self.weight.detach().clone()
            for adapter in self._adapters():
                rows = self.weight[slice(*adapter.rows)]
                delta = adapter.scale * (adapter.lora_B @ adapter.lora_A)
                rows.copy_(rows.to(delta.dtype) + delta)

    @torch.no_grad()
    def unmerge(self) -> None:
        """Put the kept weight back, bit for bit."""
        if self.unmerged is not None:
            self.weight.copy_(self.unmerged)
            self.unmerged = None

    def stacked(self) -> tuple[Tensor, Tensor]:
        """All adapters as one: A (sum of ranks, in) and B (out, sum of ranks), zero outside of each adapter's rows."""
        adapters = list(self._adapters())
        B = torch.zeros(self.out_features, sum(adapter.rank for adapter in adapters), dtype=adapters[0].lora_B.dtype)
        column = 0
        for adapter in adapters:
            B[slice(*adapter.rows), column : column + adapter.rank] = adapter.lora_B.detach().cpu()
            column += adapter.rank
        return torch.cat([adapter.lora_A.detach().cpu() for adapter in adapters]), B

    @torch.no_grad()
    def fill(self, A: Tensor, B: Tensor) -> None:
        """The inverse of `stacked`."""
        column = 0
        for adapter in self._adapters():
            columns = slice(column, column + adapter.rank)
            adapter.lora_A.copy_(A[columns])
            adapter.lora_B.copy_(B[slice(*adapter.rows), columns])
            column += adapter.rank

    def parts(self) -> Iterator[tuple[str, Adapter]]:
        """The adapters with the part of the projection they adapt, "whole" if it is not one of `in_proj`'s."""
        for part, adapter in self.adapters.items():
            assert isinstance(adapter, Adapter)
            yield part, adapter

    def _adapters(self) -> Iterator[Adapter]:
        return (adapter for _, adapter in self.parts())


def attach(lm: Mamba2LM, config: LoRAConfig | None = None) -> None:
    """Add adapters (by default those of `LoRAConfig()`) to every layer; all other parameters of `lm` are frozen.

    The model computes what it did until they are trained. Raises ValueError for targets that do not exist or overlap,
    and if adapters are attached already.
    """
    config = config or LoRAConfig()
    _attach(lm, {target: (config.rank, config.scale_alpha) for target in _checked(config.targets, lm)}, config.dropout)


def merge(lm: Mamba2LM) -> None:
    """Add the adapters to the weights, so that generation costs what it did without them; undone by `unmerge`."""
    for _, linear in _attached(lm):
        linear.merge()


def unmerge(lm: Mamba2LM) -> None:
    """Restore the weights from before `merge`, bit for bit."""
    for _, linear in _attached(lm):
        linear.unmerge()


def detach(lm: Mamba2LM) -> None:
    """Take the adapters away; weights stay as they are, with merged adapters in them, and are trainable again."""
    for name, linear in _attached(lm):
        plain = nn.Linear(linear.in_features, linear.out_features, bias=False, device="meta").train(linear.training)
        plain.weight = linear.weight
        lm.set_submodule(name, plain)
    lm.requires_grad_(True)


@dataclass(frozen=True)
class Coverage:
    """What of a model is adapted: `adapters` per target, in how many layers of `layers`, and parameters by number."""

    adapters: dict[str, int]
    layers: int
    adapter_parameters: int
    trainable: int
    model_parameters: int  # without adapters

    @property
    def share(self) -> float:
        """Parameters of the adapters over those of the model they adapt."""
        return self.adapter_parameters / self.model_parameters

    def __str__(self) -> str:
        where = ", ".join(f"{target} in {count} of {self.layers} layers" for target, count in self.adapters.items())
        return (
            f"{where or 'no adapters'}: {self.adapter_parameters:,} parameters, {self.share:.2%} of the model's "
            f"{self.model_parameters:,}; {self.trainable:,} are trainable"
        )


def coverage(lm: Mamba2LM) -> Coverage:
    """Which targets carry adapters, and how large these are beside the model."""
    counts: dict[str, int] = {}
    adapted = 0
    for name, linear in _linears(lm):
        for part, adapter in linear.parts():
            target = _target(name, part)
            counts[target] = counts.get(target, 0) + 1
            adapted += sum(parameter.numel() for parameter in adapter.parameters())
    parameters = list(lm.parameters())
    trainable = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    total = sum(parameter.numel() for parameter in parameters)
    return Coverage(counts, lm.config.depth, adapted, trainable, total - adapted)


def save(lm: Mamba2LM, folder: str | Path, base: str | None = None) -> None:
    """Write the adapters as PEFT does: adapter_config.json and adapter_model.safetensors; `base` names the model.

    PEFT knows no parts of a projection: those of `in_proj` are written as one adapter of their summed rank, which
    computes the same. Which parts they were is in the metadata of the tensors' file, for `load`.
    """
    linears = _attached(lm)
    tensors: dict[str, Tensor] = {}
    targets: dict[str, int] = {}
    ranks: dict[str, int] = {}
    alphas: dict[str, float] = {}
    dropout = 0.0
    for name, linear in linears:
        A, B = linear.stacked()
        tensors |= {f"{PREFIX}{name}.lora_A.weight": A.contiguous(), f"{PREFIX}{name}.lora_B.weight": B}
        module = name.rpartition(".")[2]
        ranks[module] = len(A)
        for part, adapter in linear.parts():
            targets[_target(name, part)] = adapter.rank
            alphas[module] = len(A) * adapter.scale  # one scale for all parts
            dropout = adapter.dropout.p
    first = min(ranks)
    fields = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": ranks[first],
        "lora_alpha": _whole(alphas[first]),
        "lora_dropout": dropout,
        "target_modules": sorted(ranks),
        "rank_pattern": {module: rank for module, rank in ranks.items() if rank != ranks[first]},
        "alpha_pattern": {module: _whole(alpha) for module, alpha in alphas.items() if alpha != alphas[first]},
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "modules_to_save": None,
        "use_dora": False,
        "use_rslora": False,
    }
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    (path / CONFIG).write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")
    save_file(tensors, path / WEIGHTS, {"format": "pt", "sonopsis_targets": json.dumps(targets)})


def load(lm: Mamba2LM, folder: str | Path) -> None:
    """Attach the adapters of a folder in PEFT's layout, frozen base and all; raises ValueError on what does not fit."""
    path = Path(folder)
    fields = _read_config(path / CONFIG)
    try:
        with safe_open(path / WEIGHTS, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
    except (FileNotFoundError, SafetensorError) as error:
        raise ValueError(f"{path / WEIGHTS} cannot be read ({error}); give the folder of a LoRA adapter") from error
    modules = sorted({name.split(".lora_")[0].rpartition(".")[2] for name in tensors})
    if unknown := sorted(set(modules) - set(MODULES)) or not modules:
        raise ValueError(f"{path} adapts {unknown or 'nothing'}; of Mamba-2, {list(MODULES)} can be adapted")
    rank, alpha = fields.get("rank_pattern") or {}, fields.get("alpha_pattern") or {}
    if names := sorted({*rank, *alpha} - set(MODULES)):
        raise ValueError(f"{path / CONFIG}: ranks or alphas of {names} are not supported, only of {list(MODULES)}")
    whole = {m: (int(rank.get(m, fields["r"])), float(alpha.get(m, fields["lora_alpha"]))) for m in modules}
    targets = {}
    for target, own in json.loads(metadata.get("sonopsis_targets", "{}")).items() or ((m, whole[m][0]) for m in whole):
        whole_rank, whole_alpha = whole[target.partition(".")[0]]
        targets[target] = (own, whole_alpha * own / whole_rank)  # one scale for all parts
    wanted = _shapes(lm, {_checked((target,), lm)[0]: rank for target, (rank, _) in targets.items()})
    given = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if wanted != given:
        wrong = sorted(name for name in {*wanted, *given} if wanted.get(name) != given.get(name))
        listed = [f"{name} {given.get(name, 'missing')}, not {wanted.get(name, 'expected')}" for name in wrong[:8]]
        raise ValueError(f"{path}: {len(wrong)} tensors do not fit this model: {'; '.join(listed)}")
    _attach(lm, targets, float(fields.get("lora_dropout", 0.0)))
    for name, linear in _linears(lm):
        linear.fill(tensors[f"{PREFIX}{name}.lora_A.weight"], tensors[f"{PREFIX}{name}.lora_B.weight"])


def _attach(lm: Mamba2LM, targets: dict[str, tuple[int, float]], dropout: float) -> None:
    if next(_linears(lm), None) is not None:
        raise ValueError("this model has adapters already; merge and detach them before adding others")
    lm.requires_grad_(False)
    rows = target_rows(lm.config)
    for mixer in (module for module in lm.modules() if isinstance(module, Mixer)):
        for target, (rank, alpha) in targets.items():
            module, _, part = target.partition(".")
            linear = getattr(mixer, module)
            if not isinstance(linear, LoRALinear):
                linear = LoRALinear(linear)
                setattr(mixer, module, linear)
            adapter = Adapter(linear.weight, rows[target], rank, alpha, dropout).train(mixer.training)
            linear.adapters[part or "whole"] = adapter


def _checked(targets: tuple[str, ...], lm: Mamba2LM) -> tuple[str, ...]:
    known = target_rows(lm.config)
    if unknown := [target for target in targets if target not in known] or not targets:
        raise ValueError(f"LoRA targets {unknown if targets else []} match nothing; choose from {list(known)}")
    if len(set(targets)) < len(targets) or ("in_proj" in targets and any("." in target for target in targets)):
        raise ValueError(f"LoRA targets {list(targets)} overlap; name in_proj or its parts, and each once")
    return targets


def _shapes(lm: Mamba2LM, ranks: dict[str, int]) -> dict[str, tuple[int, ...]]:
    """Names and shapes in a file of adapters with these ranks by target."""
    config = lm.config
    shapes: dict[str, tuple[int, ...]] = {}
    for module in sorted({target.partition(".")[0] for target in ranks}):
        rank = sum(ranks[target] for target in ranks if target.partition(".")[0] == module)
        width = config.width if module == "in_proj" else config.inner
        for index in range(config.depth):
            name = f"{PREFIX}backbone.layers.{index}.mixer.{module}"
            shapes[f"{name}.lora_A.weight"] = (rank, width)
            shapes[f"{name}.lora_B.weight"] = (target_rows(config)[module][1], rank)
    return shapes


def _linears(lm: Mamba2LM) -> Iterator[tuple[str, LoRALinear]]:
    for name, module in lm.named_modules():
        if isinstance(module, LoRALinear):
            yield name, module


def _attached(lm: Mamba2LM) -> list[tuple[str, LoRALinear]]:
    if not (linears := list(_linears(lm))):
        raise ValueError("this model has no adapters; add some with sonopsis.lora.attach or load")
    return linears


def _target(name: str, part: str) -> str:
    module = name.rpartition(".")[2]
    return module if part == "whole" else f"{module}.{part}"


def _whole(alpha: float) -> int | float:
    return int(alpha) if alpha == int(alpha) else alpha


def _read_config(file: Path) -> dict[str, Any]:
    try:
        fields = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} cannot be read ({error}); give the folder of a LoRA adapter") from error
    wrong = {name: fields[name] for name, values in PEFT_FIXED.items() if fields.get(name, values[0]) not in values}
    if wrong or not {"r", "lora_alpha"} <= set(fields):
        raise ValueError(f"{file}: {wrong or 'no r and lora_alpha'} is not supported; only plain LoRA adapters are")
    return dict(fields)
