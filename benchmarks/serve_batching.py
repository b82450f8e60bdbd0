"""Would the service answer more requests if it heard windows of several requests in one batch?

    python benchmarks/serve_batching.py examples/*               # tags
    python benchmarks/serve_batching.py examples/* --captions    # sentences, as the bundled model writes them

Hears the same windows (10 s, repeated and cut to one length) in three ways, in turns: one window for each call, as the
service does; in batches, on as many threads; in one batch at a time on all cores. Prints the median of windows a
second with the range, and by how much the logits of tags differ from those of a window alone.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from sonopsis.audio import SAMPLE_RATE, load_audio
from sonopsis.decoding.search import decode
from sonopsis.many import cores
from sonopsis.mel import mel_input
from sonopsis.model import Model, load
from sonopsis.pruning.config import uniform
from sonopsis.speaker import Speaker


def windows(model: Model, recordings: list[Path], count: int) -> np.ndarray:
    """So many windows of the model's length as log-Mel (count, T, M)."""
    length, found = round(model.window * SAMPLE_RATE), list[np.ndarray]()
    for number in range(count):
        samples = load_audio(recordings[number % len(recordings)])  # (S,)
        found.append(mel_input(np.resize(samples, length), model.folder.mel))  # (1, T, M)
    return np.concatenate(found)


def described(model: Model, mel: np.ndarray) -> np.ndarray:
    """Draw the sentences of windows (B, T, M), of which a caption is chosen; their tag logits (B, labels)."""
    options = Speaker(model.engine, model.folder, model.tokenizer, None).decoding(beams=1)
    prompt = model.engine.prompt(mel, uniform(model.engine.config.depth, model.keep_rate))
    decode(model.engine.stepper(), prompt.embeddings, options)
    return prompt.logits


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("recordings", nargs="+", type=Path)
    parser.add_argument("--captions", action="store_true")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batches", nargs="+", type=int, default=[2, 4, 8])
    arguments = parser.parse_args()
    model = load()
    workers = cores()
    pool = ThreadPoolExecutor(workers)
    hear = partial(described, model) if arguments.captions else model.logits
    mel = windows(model, arguments.recordings, workers * max(arguments.batches))  # (B, T, M)

    def split(size: int) -> list[np.ndarray]:
        return [mel[first : first + size] for first in range(0, len(mel), size)]

    def side_by_side(size: int) -> np.ndarray:
        model.engine.use_threads(1)
        return np.concatenate(list(pool.map(hear, split(size))))  # (B, labels)

    def one_at_a_time(size: int) -> np.ndarray:
        model.engine.use_threads(workers)
        return np.concatenate([hear(part) for part in split(size)])  # (B, labels)

    ways: dict[str, Callable[[], np.ndarray]] = {"one window each (the service)": partial(side_by_side, 1)}
    for size in arguments.batches:
        ways[f"batches of {size}, {workers} at once"] = partial(side_by_side, size)
        ways[f"batches of {size}, one at a time on {workers} threads"] = partial(one_at_a_time, size)
    alone = side_by_side(1)
    apart = {name: float(np.abs(way() - alone).max()) for name, way in ways.items()}  # also warms up
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(arguments.rounds):
        for name, way in ways.items():
            begun = time.perf_counter()
            way()
            speeds[name].append(len(mel) / (time.perf_counter() - begun))
    asked = "captions" if arguments.captions else "tags"
    windows_said = f"{asked} of {len(mel)} windows of {model.window:g} s"
    print(f"engine {model.engine.name}, {windows_said}, {arguments.rounds} rounds in turns")
    print("| way | windows/s, median (range) | largest difference of a logit |\n| --- | ---: | ---: |")
    for name, found in speeds.items():
        print(f"| {name} | {statistics.median(found):.2f} ({min(found):.2f}-{max(found):.2f}) | {apart[name]:.1e} |")


if __name__ == "__main__":
    main()
