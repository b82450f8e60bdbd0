"""The variants of `sonopsis bench encoder`: one clip's log-Mel to logits, by every engine, precision and keep rate."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from sonopsis.bench.peers import ReferenceTagger, TransformersWhisper, run_reference, run_tagger, run_transformers
from sonopsis.bench.report import SHORT
from sonopsis.bench.sounds import LONGEST, sound
from sonopsis.bench.timing import Variant
from sonopsis.bench.weights import Subject
from sonopsis.cost import encoder_macs
from sonopsis.cost.macs import patch_counts
from sonopsis.encoder import EncoderConfig
from sonopsis.engines.runners import PRECISIONS as EXPORTED
from sonopsis.graphs.names import STAMP
from sonopsis.hub import locate
from sonopsis.mel import FRAME_RATE, mel_input
from sonopsis.pruning import Pruning, uniform

OURS = "sonopsis"
# What each engine computes in; float16 is left out, which CPUs only store.
PRECISIONS = {
    "torch": ("float32", "bfloat16"),
    **{engine: tuple(name for name in names if name != "float16") for engine, names in EXPORTED.items()},
}


@dataclass(frozen=True)
class Work:
    """What every variant computes: the logits of the log-Mel in a file, on the weights of one model."""

    subject: Subject
    mel: Path  # normalised (B, T, M) float32
    frames: int  # T
    batch: int  # B


def make_work(subject: Subject, batch: int, folder: Path, seconds: float | None = None, seed: int = 0) -> Work:
    """`batch` clips as the model's front end hands them on: of `seconds`, or of 10 s cut to what the model hears.

    Raises ValueError when the model does not hear so many seconds at once.
    """
    window = subject.mel.frames / FRAME_RATE
    if seconds is not None and seconds > window:
        raise ValueError(f"{subject.name} hears {window:g} s at once; choose at most {window:g} seconds")
    generator = np.random.default_rng(seed)
    clips = [mel_input(sound(generator, seconds or LONGEST, 16_000), subject.mel) for _ in range(batch)]
    mel = np.concatenate(clips)
    path = folder / "mel.npy"
    np.save(path, mel)
    return Work(subject, path, mel.shape[1], batch)


def variants(
    work: Work, engines: Sequence[str], keep_rates: Sequence[float], precisions: Sequence[str], peers: bool
) -> list[Variant]:
    """Everything to measure, peers first."""
    found = list(_peers(work, keep_rates, precisions)) if peers else []
    return [*found, *_ours(work, engines, keep_rates, precisions)]


def _ours(
    work: Work, engines: Sequence[str], keep_rates: Sequence[float], precisions: Sequence[str]
) -> Iterator[Variant]:
    for engine in engines:
        for precision in PRECISIONS[engine]:
            for rate in keep_rates if precision in precisions else ():
                run = partial(run_ours, str(work.subject.path), str(work.mel), engine, precision, rate)
                extra = columns(work, uniform(work.subject.config.depth, rate), executed=True, method=OURS)
                name = f"sonopsis {engine} {SHORT[precision]}, keep {rate:g}"
                yield Variant(name, engine, precision, rate, run, extra, units=work.batch)


def _peers(work: Work, keep_rates: Sequence[float], precisions: Sequence[str]) -> Iterator[Variant]:
    """transformers' AST or Whisper, the published pruning code's way, and merging: what a family has of them."""
    config, model, mel = work.subject.config, str(work.subject.path), str(work.mel)
    exact_and_half = [precision for precision in PRECISIONS["torch"] if precision in precisions]
    theirs = "AST" if config.family == "ast" else "Whisper" if TransformersWhisper.knows(config) else None
    heard = replace(work, frames=config.frames)  # a shorter clip is padded to it
    for attention in ("sdpa", "eager") if theirs else ():
        for precision in exact_and_half:
            run = partial(run_transformers, model, mel, precision, attention)
            extra = columns(heard, None, executed=False, method=f"transformers {attention}")
            name = f"transformers {theirs} {attention} {SHORT[precision]}"
            yield Variant(name, "transformers", precision, None, run, extra, units=work.batch)
    if ReferenceTagger.knows(config):
        for precision in exact_and_half:
            for rate in keep_rates:
                pruning = uniform(config.depth, rate)
                reference = partial(run_reference, model, mel, precision, dict(pruning.keep) if pruning else {})
                extra = columns(work, pruning, executed=False, method="published way")
                name = f"published way {SHORT[precision]}, keep {rate:g}"
                yield Variant(name, "torch", precision, rate, reference, extra, units=work.batch)
    for rate in keep_rates:
        if rate < 1 and config.position == "learned" and "float32" in precisions:
            merging = merging_at_equal_macs(config, work.frames, rate, work.subject.labels)
            extra = {**columns(work, merging, executed=True, method="merging"), "unpruned": OURS}
            run = partial(run_tagger, model, mel, "float32", merging)
            yield Variant(
                f"merging (ToMe) fp32, MACs of keep {rate:g}", "torch", "float32", rate, run, extra, units=work.batch
            )


def columns(work: Work, pruning: Pruning | None, *, executed: bool, method: str) -> dict[str, Any]:
    """Further columns: MACs of a clip as the paper counts and as the variant computes, and tokens that enter blocks."""
    config = work.subject.config
    macs = encoder_macs(config, work.frames, pruning, work.subject.labels)
    patches = [prod(config.grid(work.frames)), *patch_counts(config, work.frames, pruning)][: config.depth]
    return {
        "method": method,
        "macs_g": round(macs.executed if executed else macs.reference, 3),
        "macs_reference_g": round(macs.reference, 3),
        "tokens": [config.prefix_tokens + count for count in patches],
    }


def merging_at_equal_macs(config: EncoderConfig, frames: int, keep_rate: float, labels: int) -> Pruning:
    """Merging (ToMe, arXiv 2210.09461) as published, the same number of tokens in every block, for the MACs of TopK.

    The last block is left out: what it merges nobody reads.
    """
    wanted = encoder_macs(config, frames, keep_rate, labels).executed
    candidates = [_constant_merging(config, frames, fewer) for fewer in range(1, prod(config.grid(frames)))]
    return min(candidates, key=lambda p: abs(encoder_macs(config, frames, p, labels).executed - wanted))


def _constant_merging(config: EncoderConfig, frames: int, fewer: int) -> Pruning:
    left, keep = prod(config.grid(frames)), {}
    for block in range(config.depth - 1):
        after = max(left - fewer, 1)
        keep[block] = after / left
        left = after
    return Pruning(keep, reduce="merge")


def run_ours(model: str, mel: str, engine: str, precision: str, keep_rate: float) -> Callable[[], object]:
    """What `sonopsis.load` gives, log-Mel to logits."""
    import sonopsis

    loaded = sonopsis.load(model, engine=engine, keep_rate=keep_rate, dtype=precision)
    logits = partial(loaded.logits, np.load(mel))
    logits()  # graphs are opened when first needed, and weights then read
    return logits


def export_for(
    subject: Subject, engines: Sequence[str], precisions: Sequence[str], folder: Path
) -> tuple[Subject, dict[str, str]]:
    """The subject with graphs for the engines that need them, and why an engine has to be left out.

    Every engine then runs from the same folder, on the same weights.
    """
    exported = [engine for engine in engines if engine in EXPORTED]
    ready = (locate(subject.path) / STAMP).is_file()
    if not exported or ready:
        return subject, {}
    import sonopsis

    try:
        sonopsis.load(subject.path, engine="torch").export(folder, to="int8" if "int8" in precisions else "onnx")
    except ValueError as error:
        return subject, dict.fromkeys(exported, str(error))
    return replace(subject, path=folder), {}
