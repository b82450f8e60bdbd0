"""Time of the language models that docs/results-captioning.md compares: Mamba-2, and Transformers of several sizes.

    python scripts/captioning_times.py --pretrained

Each reads the prefix of a recording and writes a caption, greedily, as `Captioner` has them do, and each learns from a
batch of captions, forward and backward. Weights are drawn, except with --pretrained those of SmolLM2 (`make smollm2`),
of which adapters of rank 8 learn.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import typer
from captioning_arms import ARMS
from torch.nn import functional as F

from sonopsis.bench.timing import Variant
from sonopsis.captioning.language_model import LanguageModel
from sonopsis.cli.measuring import Json, Markdown, Rounds, Threads, finish, measured, this_machine
from sonopsis.training.building import attach, of_sizes, read_language_model
from sonopsis.training.config import LoRASettings
from sonopsis.training.published import place_of

MODELS = ("scratch-192", "llama-192", "llama-256")
PRETRAINED = "smollm2-8"
PREFIX, CAPTION, BATCH = 40, 24, 8  # vectors of a recording, tokens of its caption, captions in a step


def variants(pretrained: bool) -> dict[str, list[Variant]]:
    """Ways to write a caption, and to learn from some: the smallest Mamba-2 first, which is the baseline."""
    models = (*MODELS, PRETRAINED) if pretrained else MODELS
    found: dict[str, list[Variant]] = {"caption": [], "step": []}
    for name in models:
        engine = "torch" if name == MODELS[0] else "transformers"
        found["caption"].append(Variant(f"{name}, a caption", engine, "float32", None, partial(writing, name)))
        found["step"].append(Variant(f"{name}, a training step", engine, "float32", None, partial(learning, name)))
    return found


def language_model(name: str) -> LanguageModel:
    """The language model of an arm of the study; the same weights in every process."""
    torch.manual_seed(0)
    arm = ARMS[name]
    if arm.folder is not None:
        return read_language_model(Path(place_of(arm.folder)))
    assert arm.sizes is not None
    return of_sizes(arm.sizes, arm.sizes.vocabulary, 0)


def writing(name: str) -> Callable[[], int]:
    """Reading a prefix and writing CAPTION tokens behind it; it returns their number."""
    lm = language_model(name).eval()
    prefix = torch.randn(1, PREFIX, lm.config.width) * 0.02

    @torch.inference_mode()
    def write() -> int:
        ((best, *_),) = lm.generate(embeds=prefix, max_new_tokens=CAPTION, stop_ids=())
        return len(best.ids)

    return write


def learning(name: str) -> Callable[[], float]:
    """The loss of a batch of captions behind their prefixes, and its gradient; it returns the loss."""
    lm = language_model(name).train()
    if (rank := ARMS[name].rank) is not None:
        attach(lm, LoRASettings(rank=rank))
    prefix = torch.randn(BATCH, PREFIX, lm.config.width) * 0.02
    ids = torch.randint(1000, (BATCH, CAPTION))  # tokens that every vocabulary has

    def step() -> float:
        read = torch.cat([prefix, lm.embed(ids)], dim=1)  # (B, L, E)
        logits = lm.logits(read, last=CAPTION + 1)[:, :-1]  # (B, W, V), each predicts the next token
        loss = F.cross_entropy(logits.flatten(0, 1), ids.flatten())
        loss.backward()
        lm.zero_grad(set_to_none=True)
        return loss.item()

    return step


def main(
    pretrained: Annotated[bool, typer.Option("--pretrained", help="Also measure SmolLM2-135M (make smollm2).")] = False,
    threads: Threads = None,
    rounds: Rounds = 7,
    as_json: Json = False,
    as_markdown: Markdown = False,
) -> None:
    """Time a caption and a training step of the language models of docs/results-captioning.md."""
    machine = this_machine(threads)
    works = variants(pretrained).values()
    finish([measured(machine, found, rounds, threads) for found in works], as_json, as_markdown)


if __name__ == "__main__":
    import captioning_times  # by name, so that the processes of the variants find its functions

    typer.run(captioning_times.main)
