"""The engine of exported models: their graphs, run by onnxruntime or OpenVINO, and no torch.

mel, kept -> tag.onnx | encode.onnx | caption.onnx          prompt -> prefill.onnx -> step.onnx -> step.onnx ...
"""

import threading
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonopsis.decoding.search import ForkingStepper, Ids
from sonopsis.encoder.encoded import Encoded
from sonopsis.engines.base import Floats, Prompt
from sonopsis.engines.runners import Arrays, Runner, open_runner
from sonopsis.files import ModelError
from sonopsis.folder import ModelFolder
from sonopsis.graphs.names import CAPTION, ENCODE, PREFILL, STEP, TAG, TAG_INT8
from sonopsis.mamba2.config import PREFILL_SEGMENT, Mamba2Config
from sonopsis.pruning.config import Pruning, default_blocks


class ExportedEngine:
    """An exported model folder as an engine; graphs are opened when first needed."""

    def __init__(self, folder: ModelFolder, name: str, precision: str = "float32", threads: int = 1) -> None:
        self.name = name
        self.folder = folder
        self.precision = precision
        self.config = folder.config.encoder
        self.captions = folder.config.lm is not None
        self._threads = threads
        self._runners: dict[str, Runner] = {}
        self._lock = threading.Lock()

    def logits(self, mel: Any, pruning: Pruning | None) -> Floats:
        """Normalised log-Mel (B, T, M) -> tag logits (B, labels)."""
        return self._run(TAG, mel, pruning)["logits"]

    def encode(self, mel: Any, pruning: Pruning | None) -> Encoded[Any]:
        """Normalised log-Mel (B, T, M) -> surviving tokens with their grid positions, as NumPy."""
        mel = _array(mel)
        grid = self.config.grid(mel.shape[1])
        out = self._run(ENCODE, mel, pruning)
        tokens = out["tokens"]
        stages = [out[f"stage_{number}"] for number in range(len(default_blocks(self.config.depth)))]
        index = stages[-1] if stages else np.broadcast_to(np.arange(tokens.shape[1]), tokens.shape[:2])
        return Encoded(
            tokens=tokens,
            index=index,
            mask=np.ones(index.shape, bool),
            size=np.ones(index.shape, np.float32),
            prefix=out["prefix"],
            grid=grid,
            stages=[] if pruning is None else stages,
        )

    def prompt(self, mel: Any, pruning: Pruning | None) -> Prompt:
        """Normalised log-Mel (B, T, M) -> tags, what `stepper` reads, and labels in time."""
        out = self._run(CAPTION, mel, pruning)
        return Prompt(out["logits"], out["prompt"], out.get("steps"))

    def stepper(self) -> ForkingStepper:
        """The prefill and step graphs as a stepper."""
        lm = self.folder.config.lm
        assert isinstance(lm, Mamba2Config)  # graphs have no other
        return ExportedStepper(lm, self._runner(PREFILL), self._runner(STEP))

    def prepare(self) -> None:
        """Nothing: graphs are compiled when they are opened."""

    def use_threads(self, threads: int) -> int:
        """Compute each call with so many threads, from the next graph that is opened on."""
        with self._lock:
            before = self._threads
            if threads != before:
                self._threads, self._runners = threads, {}
            return before

    def _run(self, graph: str, mel: Any, pruning: Pruning | None) -> Arrays:
        mel = _array(mel)
        return self._runner(graph).run({"mel": mel, "kept": self._kept(mel.shape[1], pruning)})

    def _runner(self, graph: str) -> Runner:
        if self.precision == "int8":
            if graph != TAG:
                raise ModelError(f"{self.folder.name} in int8 only tags; load it without dtype to encode or caption")
            graph = TAG_INT8
            if not (self.folder.path / graph).is_file():
                raise ModelError(f"{self.folder.path} has no {graph}; make it: sonopsis export MODEL --to int8 -o DIR")
        with self._lock:
            if graph not in self._runners:
                self._runners[graph] = open_runner(self.name, self.folder.path / graph, self.precision, self._threads)
            return self._runners[graph]

    def _kept(self, frames: int, pruning: Pruning | None) -> Ids:
        """How many patches survive each pruning block of the graphs."""
        blocks, pruning = default_blocks(self.config.depth), pruning or Pruning({})
        if pruning.reduce != "topk" or pruning.score is not None or not set(pruning.keep) <= set(blocks):
            raise ModelError(
                f"the exported {self.folder.name} prunes by its own score with the reducer topk at blocks {blocks}; "
                'use engine="torch" for other rules'
            )
        grid = self.config.grid(frames)
        left, counts = grid[0] * grid[1], []
        for block in blocks:
            left = pruning.count(block, left, grid)
            counts.append(left)
        return np.array(counts, np.int64)


class ExportedStepper:
    """Prefill and step graphs with their state, as the `Stepper` that `decode` drives."""

    def __init__(self, config: Mamba2Config, prefill: Runner, step: Runner) -> None:
        self.config = config
        self._prefill, self._step = prefill, step
        self._state: Arrays = {}

    def prefill(self, prompts: NDArray[np.float32]) -> Floats:
        """Read embeddings (B, L, E) from the start; logits (B, V) of what follows."""
        config, batch = self.config, len(prompts)
        conv = np.zeros((batch, config.conv - 1, config.conv_channels), np.float32)
        ssm = np.zeros((batch, config.heads, config.head_dim, config.state), np.float32)
        self._state = {
            f"{kind}_{n}": zeros for n in range(config.depth) for kind, zeros in (("conv", conv), ("ssm", ssm))
        }
        for start in range(0, prompts.shape[1], PREFILL_SEGMENT):
            logits = self._advance(self._prefill, "embeds", prompts[:, start : start + PREFILL_SEGMENT])
        return logits

    def step(self, ids: Ids) -> Floats:
        """Append one token to each sequence, ids (B,); logits (B, V) of what follows."""
        return self._advance(self._step, "ids", ids)

    def reorder(self, rows: Ids) -> None:
        """Keep the sequences `rows` in that order."""
        self._state = {name: state[rows] for name, state in self._state.items()}

    def fork(self) -> "ExportedStepper":
        """An independent stepper that has read the same; states are replaced and never changed, so it shares them."""
        return copy(self)

    def _advance(self, runner: Runner, name: str, inputs: NDArray[Any]) -> Floats:
        out = runner.run({name: inputs, **self._state})
        self._state = {state: out[f"{state}_out"] for state in self._state}
        return out["logits"]


def _array(mel: Any) -> Floats:
    """An array, or a tensor on any device, as float32 NumPy."""
    if hasattr(mel, "detach"):
        mel = mel.detach().cpu().numpy()
    return np.ascontiguousarray(mel, np.float32)
