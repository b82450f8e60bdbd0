"""The variants of `sonopsis bench pipeline`: a folder of recordings in, tags out.

Decoding, resampling, log-Mel and the model, as `sonopsis tag FOLDER` runs them, against transformers' feature
extractor and model behind the same decoder. Loading a model is not part of it (`sonopsis bench start` measures that).
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import cycle
from pathlib import Path

from sonopsis.bench.encoder import OURS, PRECISIONS
from sonopsis.bench.report import SHORT
from sonopsis.bench.timing import Variant
from sonopsis.bench.weights import Subject

TOP_K = 5


def variants(
    subject: Subject,
    clips: Sequence[Path],
    at_once: int,
    engines: Sequence[str],
    keep_rates: Sequence[float],
    precisions: Sequence[str],
    peers: bool,
) -> list[Variant]:
    """Everything to measure, peers first; a call tags the next `at_once` of the clips, and times are for one clip."""
    parts = [[str(clip) for clip in clips[i : i + at_once]] for i in range(0, len(clips), at_once)]
    found = list(_peers(subject, parts, precisions)) if peers and subject.config.family == "ast" else []
    for engine in engines:
        for precision in PRECISIONS[engine]:
            for rate in keep_rates if precision in precisions else ():
                run = partial(run_ours, str(subject.path), parts, engine, precision, rate)
                name = f"sonopsis tag, {engine} {SHORT[precision]}, keep {rate:g}"
                found.append(Variant(name, engine, precision, rate, run, {"method": OURS}, units=at_once))
    return found


def _peers(subject: Subject, parts: list[list[str]], precisions: Sequence[str]) -> Iterator[Variant]:
    for precision in PRECISIONS["torch"]:
        if precision in precisions:
            run = partial(run_transformers, str(subject.path), parts, precision)
            name, extra = f"transformers AST {SHORT[precision]}", {"method": "transformers sdpa"}
            yield Variant(name, "transformers", precision, None, run, extra, units=len(parts[0]))


def run_ours(model: str, parts: list[list[str]], engine: str, precision: str, keep_rate: float) -> Callable[[], object]:
    """What `sonopsis tag` does with its inputs once the model is loaded."""
    import sonopsis

    loaded = sonopsis.load(model, engine=engine, dtype=precision)
    following = cycle(parts)

    def tag() -> None:
        results = list(loaded.describe_many(next(following), captions=False, top_k=TOP_K, keep_rate=keep_rate))
        if failed := [result.error for result in results if result.error is not None]:
            raise ValueError(f"clips could not be tagged: {failed}")

    return tag


def run_transformers(model: str, parts: list[list[str]], precision: str) -> Callable[[], object]:
    """Our decoder, transformers' feature extractor, its AST and the best labels, clip by clip."""
    import torch
    from transformers import ASTFeatureExtractor

    from sonopsis.audio import SAMPLE_RATE, load_audio
    from sonopsis.bench.peers import DTYPES, transformers_ast
    from sonopsis.bench.weights import read_tagger

    tagger = read_tagger(model)
    theirs = transformers_ast(tagger).to(DTYPES[precision])
    extractor = ASTFeatureExtractor(max_length=tagger.encoder.config.frames)
    following = cycle(parts)

    @torch.inference_mode()
    def tag() -> None:
        for path in next(following):
            features = extractor(load_audio(path), sampling_rate=SAMPLE_RATE, return_tensors="pt")
            theirs(features["input_values"].to(DTYPES[precision])).logits[0].float().sigmoid().topk(TOP_K)

    return tag
