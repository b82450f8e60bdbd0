"""What every engine computes: log-Mel in; logits, tokens and a prompt out; and a stepper that continues prompts."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sonopsis.decoding.search import ForkingStepper
from sonopsis.encoder.config import EncoderConfig
from sonopsis.encoder.encoded import Encoded
from sonopsis.pruning.config import Pruning

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Prompt:
    """What a captioner hears in clips."""

    logits: Floats  # (B, labels) of tags
    embeddings: Any  # (B, L + 1, E) what `stepper` reads
    steps: Floats | None  # (B, t, labels) how probable each label is in each time step; None: the connector tells not


class Engine(Protocol):
    """A model that is ready to compute."""

    name: str  # torch, onnx or openvino
    config: EncoderConfig
    captions: bool  # whether it has a language model

    def logits(self, mel: Any, pruning: Pruning | None) -> Floats:
        """Normalised log-Mel (B, T, M) -> tag logits (B, labels)."""

    def encode(self, mel: Any, pruning: Pruning | None) -> Encoded[Any]:
        """Normalised log-Mel (B, T, M) -> surviving tokens with their grid positions, as NumPy."""

    def prompt(self, mel: Any, pruning: Pruning | None) -> Prompt:
        """Normalised log-Mel (B, T, M) -> tags, what `stepper` reads, and labels in time."""

    def stepper(self) -> ForkingStepper:
        """A language model that reads prompts and continues them, for one call of `sonopsis.decoding.decode`."""

    def prepare(self) -> None:
        """Do now what makes many captions faster and takes time once; nothing where there is no such thing."""

    def use_threads(self, threads: int) -> int:
        """Compute each call with so many threads from now on; returns how many there were before."""
