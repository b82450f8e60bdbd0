"""One step of training a captioner's language model, forward and backward, beside transformers and PEFT.

    python benchmarks/train_step.py --peers

A step reads a batch of sequences and learns from the caption at their end alone; no optimiser moves the weights, whose
cost is the same for all. Ours computes logits where there is a caption, as `Captioner` does; transformers' is given
labels of -100 elsewhere, as its users do.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import torch
import typer
from torch import Tensor
from torch.nn import functional as F

from sonopsis import lora
from sonopsis.bench.lm import transformers_lm
from sonopsis.bench.timing import Variant
from sonopsis.cli.console import fail
from sonopsis.cli.measuring import Json, Markdown, Rounds, Threads, chosen, finish, measured, this_machine
from sonopsis.mamba2 import Mamba2Config, Mamba2LM

TRAINED = ("all", "lora")
RANK = 8


@dataclass(frozen=True)
class Shape:
    """The model, by default mamba2-130m, and the batch: sequences of `length` tokens whose last `caption` are learned.

    Raises ValueError when there is nothing before the caption to predict it from.
    """

    width: int = 768
    depth: int = 24
    vocabulary: int = 50288
    batch: int = 8
    length: int = 200
    caption: int = 30

    def __post_init__(self) -> None:
        if not 0 < self.caption < self.length:
            raise ValueError(f"a caption of {self.caption} tokens needs more tokens before it than {self.length} allow")


def variants(shape: Shape, trained: Sequence[str] = TRAINED, peers: bool = False) -> list[Variant]:
    """Training all parameters, and adapters alone; with `peers` transformers', which is the baseline, before ours.

    PEFT puts no adapters on `out_proj` of Mamba-2, so those of transformers are on `in_proj`; ours are on both, and
    on `in_proj` alone to compare like with like.
    """
    found: list[Variant] = []

    def add(engine: str, targets: tuple[str, ...]) -> None:
        method = f"LoRA r={RANK} on {' and '.join(targets)}" if targets else "all parameters"
        run = partial(transformers_step if engine == "transformers" else sonopsis_step, shape, targets)
        extra = {"batch": shape.batch, "length": shape.length, "caption": shape.caption, "method": method}
        work = "adapters" if targets else method
        found.append(Variant(f"{engine}, {method}", engine, "float32", None, run, {**extra, "work": work}))

    for engine in ("transformers", "sonopsis") if peers else ("sonopsis",):
        if "all" in trained:
            add(engine, ())
        if "lora" in trained:
            add(engine, ("in_proj",))
            if engine == "sonopsis":
                add(engine, ("in_proj", "out_proj"))
    return found


def sonopsis_step(shape: Shape, targets: tuple[str, ...]) -> Callable[[], float]:
    """The step of `Mamba2LM`, of all parameters or of adapters on `targets`; it returns the loss."""
    lm, ids = _model(shape)
    lm.train()
    if targets:
        lora.attach(lm, lora.LoRAConfig(rank=RANK, targets=targets))

    def step() -> float:
        hidden = lm.hidden(lm.embed(ids))[:, -shape.caption - 1 : -1]  # (B, W, E), each predicts the next token
        loss = F.cross_entropy(lm.lm_head(hidden).flatten(0, 1), ids[:, -shape.caption :].flatten())
        loss.backward()
        lm.zero_grad(set_to_none=True)
        return loss.item()

    return step


def transformers_step(shape: Shape, targets: tuple[str, ...]) -> Callable[[], float]:
    """The step of transformers' Mamba-2 with the same weights; adapters are PEFT's."""
    lm, ids = _model(shape)
    peer = transformers_lm(lm)
    peer.config.use_cache = False
    del lm
    peer.train()
    if targets:
        import peft

        peer = peft.get_peft_model(peer, peft.LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=list(targets)))
    labels = ids.clone()
    labels[:, : -shape.caption] = -100

    def step() -> float:
        loss = peer(input_ids=ids, labels=labels).loss
        loss.backward()
        peer.zero_grad(set_to_none=True)
        return float(loss.item())

    return step


def _model(shape: Shape) -> tuple[Mamba2LM, Tensor]:
    """Random weights and token ids (B, L), the same in every process."""
    torch.manual_seed(0)
    lm = Mamba2LM(Mamba2Config(width=shape.width, depth=shape.depth, vocab_size=shape.vocabulary))
    return lm, torch.randint(shape.vocabulary, (shape.batch, shape.length))


def main(
    trained: Annotated[
        list[str] | None, typer.Option(show_default="both", help="What is trained: all or lora; repeatable.")
    ] = None,
    peers: Annotated[bool, typer.Option("--peers", help="Also measure transformers and PEFT, the baseline.")] = False,
    width: Annotated[int, typer.Option(min=64, help="Width of the language model, a multiple of 32.")] = 768,
    depth: Annotated[int, typer.Option(min=1, help="Its layers.")] = 24,
    batch: Annotated[int, typer.Option(min=1, help="Sequences in one step.")] = 8,
    length: Annotated[int, typer.Option(min=2, help="Tokens of a sequence.")] = 200,
    caption: Annotated[int, typer.Option(min=1, help="Tokens at its end that are learned.")] = 30,
    threads: Threads = None,
    rounds: Rounds = 3,
    as_json: Json = False,
    as_markdown: Markdown = False,
) -> None:
    """Time a step of training a captioner's Mamba-2 (random weights): forward and backward, without an optimiser."""
    kinds = chosen(trained, TRAINED, "--trained")
    try:
        shape = Shape(width, depth, batch=batch, length=length, caption=caption)
    except ValueError as error:
        fail(str(error))
    found = variants(shape, kinds, peers)
    finish([measured(this_machine(threads), found, rounds, threads)], as_json, as_markdown)


if __name__ == "__main__":
    import train_step  # by name, so that the processes of the variants find its functions

    typer.run(train_step.main)
