"""Renaming the tensors of a checkpoint: a table of names per family, and one error that lists all that does not fit."""

import re
from collections.abc import Iterable, Mapping

from torch import Tensor, cat

# Our name -> theirs; several are joined along the first axis.
Table = dict[str, tuple[str, ...]]
LISTED = 12  # names an error spells out before it counts the rest
HEADS = {192: 3, 384: 6, 768: 12, 1024: 16, 1280: 16}  # of published encoders, by width: most files do not tell

# Inside a block, in timm's names, which the original AST, AudioMAE and EAT all share.
TIMM_BLOCK = {
    "norm1": ("norm1",),
    "attn.qkv": ("attn.qkv",),
    "attn.proj": ("attn.proj",),
    "norm2": ("norm2",),
    "fc1": ("mlp.fc1",),
    "fc2": ("mlp.fc2",),
}


def affine(own: str, theirs: Iterable[str]) -> Table:
    """The rows of a table for one weight and its bias."""
    names = tuple(theirs)
    return {f"{own}.{kind}": tuple(f"{name}.{kind}" for name in names) for kind in ("weight", "bias")}


def blocks(prefix: str, depth: int, names: Mapping[str, tuple[str, ...]] = TIMM_BLOCK) -> Table:
    """The rows for `depth` transformer blocks (at least one), called `prefix`0, `prefix`1, ... there."""
    table: Table = {}
    for block in range(max(depth, 1)):
        for own, theirs in names.items():
            table |= affine(f"encoder.blocks.{block}.{own}", [f"{prefix}{block}.{name}" for name in theirs])
    return table


def count_blocks(names: Iterable[str], prefix: str) -> int:
    """How many blocks there are, by the highest number that follows `prefix` in the names."""
    pattern = re.compile(re.escape(prefix) + r"(\d+)\.")
    return max((int(found[1]) + 1 for name in names if (found := pattern.match(name))), default=0)


def gather(tensors: Mapping[str, Tensor], table: Table, family: str, ignore: tuple[str, ...] = ()) -> dict[str, Tensor]:
    """Tensors by their names -> by ours; names that start with one of `ignore` may be left over.

    Raises ValueError that lists every missing and every unknown tensor.
    """
    wanted = {name for names in table.values() for name in names}
    missing = sorted(wanted - tensors.keys())
    unknown = sorted(name for name in tensors.keys() - wanted if not name.startswith(ignore))
    if missing or unknown:
        problems = [f"{kind} {listed(names)}" for kind, names in (("missing", missing), ("unknown", unknown)) if names]
        raise ValueError(f"not a whole {family} checkpoint: tensors {', '.join(problems)}")
    return {own: joined([tensors[name] for name in names]) for own, names in table.items()}


def joined(parts: list[Tensor]) -> Tensor:
    """Tensors joined along the first axis, in memory of their own: a file may be mapped, and change."""
    return parts[0].clone() if len(parts) == 1 else cat(parts)


def listed(names: list[str]) -> str:
    """The names, or the first of them and how many more there are."""
    shown = ", ".join(names[:LISTED])
    return f"({len(names)}): {shown}" + (" ..." if len(names) > LISTED else "")


def check_shapes(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], family: str) -> None:
    """Raise ValueError that lists every tensor of another shape than the encoder's own."""
    wrong = [
        f"{name} {tuple(state[name].shape)}, not {tuple(wanted[name].shape)}"
        for name in sorted(wanted)
        if state[name].shape != wanted[name].shape
    ]
    if wrong:
        raise ValueError(f"not a {family} checkpoint of one size: tensors of another shape {listed(wrong)}")


def heads_of(width: int, *said: object) -> int:
    """The number of heads of an encoder: what a caller or a config.json says, otherwise that of the published width.

    None says nothing. Raises ValueError when nothing tells the number, or two answers differ or do not fit the width.
    """
    told = {heads for heads in said if heads is not None} or {HEADS.get(width)}
    heads = told.pop()
    if heads is None:
        raise ValueError(
            f"its width {width} is of no published model, and the file does not say how many heads it has: give them, "
            'read_checkpoint(path, heads=...), or put a config.json with "num_heads" beside the weights'
        )
    if told or not isinstance(heads, int) or heads < 1 or width % heads:
        raise ValueError(f"{[heads, *told]} heads do not fit its width {width}; give the number it was trained with")
    return heads


def expect(fields: Mapping[str, object], fixed: Mapping[str, object], file: str = "config.json") -> None:
    """Raise ValueError if a JSON file has another value for a field that this implementation fixes."""
    wrong = {name: fields[name] for name in fixed if name in fields and fields[name] != fixed[name]}
    if wrong:
        raise ValueError(f"{file} has {wrong}; only { ({name: fixed[name] for name in wrong}) } can be read")
