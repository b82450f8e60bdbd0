"""Adapters on disk, as PEFT writes them: adapter_config.json and adapter_model.safetensors."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sonopsis.lora.model import adapted_linears, add_adapters, attached_linears
from sonopsis.lora.targets import LanguageModel, check_targets, known_targets, projections, target_name

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."  # what PEFT puts before the names of the adapted model's modules

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


def save(lm: LanguageModel, folder: str | Path, base: str | None = None) -> None:
    """Write the adapters as PEFT does: adapter_config.json and adapter_model.safetensors; `base` names the model.

    PEFT knows no parts of a projection: those of `in_proj` are written as one adapter of their summed rank, which
    computes the same. Which parts they were is in the metadata of the tensors' file, for `load`.
    """
    linears = attached_linears(lm)
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
            targets[target_name(name, part)] = adapter.rank
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


def load(lm: LanguageModel, folder: str | Path) -> None:
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
    whole_targets = [target for target in known_targets(lm) if "." not in target]
    if unknown := sorted(set(modules) - set(whole_targets)) or not modules:
        raise ValueError(f"{path} adapts {unknown or 'nothing'}; of this model, {whole_targets} can be adapted")
    rank, alpha = fields.get("rank_pattern") or {}, fields.get("alpha_pattern") or {}
    if names := sorted({*rank, *alpha} - set(whole_targets)):
        raise ValueError(f"{path / CONFIG}: ranks or alphas of {names} are not supported, only of {whole_targets}")
    whole = {m: (int(rank.get(m, fields["r"])), float(alpha.get(m, fields["lora_alpha"]))) for m in modules}
    targets = {}
    for target, own in json.loads(metadata.get("sonopsis_targets", "{}")).items() or ((m, whole[m][0]) for m in whole):
        whole_rank, whole_alpha = whole[target.partition(".")[0]]
        targets[target] = (own, whole_alpha * own / whole_rank)  # one scale for all parts
    wanted = _shapes(lm, {check_targets((target,), lm)[0]: rank for target, (rank, _) in targets.items()})
    given = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if wanted != given:
        wrong = sorted(name for name in {*wanted, *given} if wanted.get(name) != given.get(name))
        listed = [f"{name} {given.get(name, 'missing')}, not {wanted.get(name, 'expected')}" for name in wrong[:8]]
        raise ValueError(f"{path}: {len(wrong)} tensors do not fit this model: {'; '.join(listed)}")
    add_adapters(lm, targets, float(fields.get("lora_dropout", 0.0)))
    for name, linear in adapted_linears(lm):
        linear.fill(tensors[f"{PREFIX}{name}.lora_A.weight"], tensors[f"{PREFIX}{name}.lora_B.weight"])


def _shapes(lm: LanguageModel, ranks: dict[str, int]) -> dict[str, tuple[int, ...]]:
    """Names and shapes in a file of adapters with these ranks by target."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, linear in projections(lm).items():
        rank = sum(own for target, own in ranks.items() if target.partition(".")[0] == name.rpartition(".")[2])
        if rank:
            shapes[f"{PREFIX}{name}.lora_A.weight"] = (rank, linear.in_features)
            shapes[f"{PREFIX}{name}.lora_B.weight"] = (linear.out_features, rank)
    return shapes


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
