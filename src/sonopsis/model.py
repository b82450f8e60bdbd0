"""`sonopsis.load()`: a model folder with everything needed to go from a recording to labels and a sentence."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from sonopsis.audio import SAMPLE_RATE, AudioSource, is_silent, iter_windows, probe
from sonopsis.decoding.consensus import consensus, tag_support
from sonopsis.decoding.search import Hypothesis
from sonopsis.encoder.encoded import Encoded
from sonopsis.engines.base import Engine, Wording
from sonopsis.engines.choice import open_model
from sonopsis.export import export
from sonopsis.folder import ModelError, ModelFolder
from sonopsis.hub import local_path
from sonopsis.mel import mel_input
from sonopsis.pruning.config import Pruning, uniform
from sonopsis.results import Caption, FileResult, Tags, WindowResult

FRAME_SHIFT = 0.01  # seconds between Mel frames
SILENCE = "silence"


def load(
    model: str | os.PathLike[str] = "default",
    *,
    engine: str = "auto",
    keep_rate: float | None = None,
    device: str | None = None,
    dtype: Any = None,
) -> "Model":
    """Load a model folder, a checkpoint of AST, AudioMAE or EAT (file or folder), a hub id, or the bundled `"default"`.

    A hub id is `owner/name` or `owner/name@revision`, fetched unless a path here has that name (extra `hub`).
    `keep_rate` is the share of patch tokens kept at each pruning block (None: the model's own). `engine` is `"torch"`,
    or, for exported models, `"onnx"` or `"openvino"`; `"auto"` takes the fastest that is there. `dtype` is a name like
    `"bfloat16"` or one of torch's (None: float32). Raises ModelError, in one line, when the model is incomplete or of
    another kind, and ValueError for an unknown engine, dtype, a keep rate outside (0, 1] or a device that is not there.
    """
    if keep_rate is not None and not 0 < keep_rate <= 1:
        raise ValueError(f"keep_rate must be over 0 and at most 1, not {keep_rate!r}")
    folder, chosen = open_model(local_path(model), engine, device, dtype)
    return Model(folder, chosen, keep_rate)


def _tokenizer(folder: ModelFolder) -> Tokenizer | None:
    if folder.tokenizer is None:
        return None
    try:
        return Tokenizer.from_file(str(folder.tokenizer))
    except Exception as error:  # the library raises nothing more specific
        raise ModelError(f"{folder.path}: {folder.tokenizer.name} is not a tokenizer ({error})") from error


class Model:
    """A loaded model: recordings in, tags and captions out."""

    def __init__(self, folder: ModelFolder, engine: Engine, keep_rate: float | None = None) -> None:
        self.folder = folder
        self.engine = engine
        self.labels = folder.config.labels
        self.keep_rate = folder.config.keep_rate if keep_rate is None else keep_rate
        self.tokenizer = _tokenizer(folder)

    @property
    def name(self) -> str:
        """What results call the model."""
        return self.folder.name

    @property
    def window(self) -> float:
        """Seconds of audio the model hears at once."""
        return self.folder.mel.frames * FRAME_SHIFT

    @property
    def module(self) -> Any:
        """The torch module, a Tagger or a Captioner; raises ModelError on an engine that has none."""
        module = getattr(self.engine, "module", None)
        if module is None:
            raise ModelError(f"{self.name} runs on {self.engine.name}, without torch; load it with engine='torch'")
        return module

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write a model folder that loads as this same model; raises ValueError for a folder that is not empty."""
        export(self, Path(folder), to="folder")

    # The stages, in the order of the data: samples -> mel -> tokens -> logits.

    def mel(self, audio: AudioSource, *, sample_rate: int | None = None) -> NDArray[np.float32]:
        """A recording's first window as normalised log-Mel (1, T, 128) float32."""
        first = next(iter_windows(audio, window=self.window, sample_rate=sample_rate))
        return mel_input(first.samples, self.folder.mel)

    def logits(self, mel: Any, *, keep_rate: float | None = None) -> NDArray[np.float32]:
        """Normalised log-Mel (B, T, 128), array or tensor -> tag logits (B, labels) float32."""
        self._check_labels()
        return self.engine.logits(mel, self._pruning(keep_rate))

    def encode(self, mel: Any, *, keep_rate: float | None = None) -> Encoded[Any]:
        """Normalised log-Mel (B, T, 128), array or tensor -> surviving tokens with their grid positions, as NumPy."""
        return self.engine.encode(mel, self._pruning(keep_rate))

    # Recordings.

    def tag(
        self,
        audio: AudioSource,
        *,
        sample_rate: int | None = None,
        top_k: int = 5,
        threshold: float | None = None,
        window: float | None = None,
        hop: float | None = None,
        keep_rate: float | None = None,
    ) -> list[Tags]:
        """The `top_k` labels of each window with their scores in [0, 1] (those of at least `threshold`, if given).

        `window` and `hop` are in seconds; the default is the model's own input length without overlap.
        """
        options = {"captions": False, "top_k": top_k, "threshold": threshold, "keep_rate": keep_rate}
        found = self._windows(audio, window, hop, sample_rate, **options)
        return [Tags(w.start, w.end, w.labels or []) for w in found]

    def caption(
        self,
        audio: AudioSource,
        *,
        sample_rate: int | None = None,
        window: float | None = None,
        hop: float | None = None,
        beams: int = 1,
        keep_rate: float | None = None,
    ) -> list[Caption]:
        """One sentence for each window, with the mean log-probability of its tokens as score."""
        found = self._windows(audio, window, hop, sample_rate, captions=True, beams=beams, keep_rate=keep_rate)
        return [Caption(w.start, w.end, w.caption or "", w.score or 0.0) for w in found]

    def describe(
        self,
        path: str,
        *,
        captions: bool = False,
        window: float | None = None,
        hop: float | None = None,
        **options: Any,
    ) -> FileResult:
        """Tags, and captions if asked for, of one file in a single pass; raises AudioError when it cannot be read.

        `options` are those of `describe_samples`.
        """
        windows = list(self._windows(path, window, hop, None, captions=captions, **options))
        gaps = hop is not None and hop > (self.window if window is None else window)
        duration = probe(path).duration if gaps else windows[-1].end  # windows without gaps end where the file does
        return FileResult(str(path), duration, self.name, windows)

    def _windows(
        self, audio: AudioSource, window: float | None, hop: float | None, sample_rate: int | None, **options: Any
    ) -> Iterator[WindowResult]:
        """`describe_samples` of each window, at its place in the recording."""
        length = self.window if window is None else window
        if not 0 < length <= self.window:
            raise ValueError(f"a window must last between 0 and {self.window:g} s, what the model hears at once")
        for piece in iter_windows(audio, window=length, hop=hop, sample_rate=sample_rate):
            yield replace(self.describe_samples(piece.samples, **options), start=piece.start, end=piece.end)

    def describe_samples(
        self,
        samples: NDArray[np.float32],
        *,
        captions: bool,
        top_k: int = 5,
        threshold: float | None = None,
        beams: int = 1,
        keep_rate: float | None = None,
    ) -> WindowResult:
        """One window's samples (S,) at 16 kHz: its tags, and its caption if asked for; silence is called silence."""
        end = len(samples) / SAMPLE_RATE
        if top_k < 1:
            raise ValueError(f"top_k must be at least 1, not {top_k}")
        if captions and not self.engine.captions:
            raise ModelError(f"{self.name} only tags; it has no language model to caption with")
        self._check_labels()
        if is_silent(samples):
            caption, score = (SILENCE, 0.0) if captions else (None, None)
            return WindowResult(0.0, end, [(SILENCE, 1.0)], caption, score)
        pruning = self._pruning(keep_rate)
        mel = mel_input(samples, self.folder.mel)  # (1, T, M)
        if not captions:
            scores = _sigmoid(self.engine.logits(mel, pruning)[0])
            return WindowResult(0.0, end, self._top(scores, top_k, threshold), None, None)
        config = self.folder.config
        wording = Wording(config.max_caption_tokens, beams, 0 if beams > 1 else config.caption_samples)
        logits, found = self.engine.caption(mel, pruning, wording)
        scores = _sigmoid(logits[0])
        best = self._best(found[0], scores)
        return WindowResult(0.0, end, self._top(scores, top_k, threshold), self.decode(list(best.ids)), best.score)

    def _best(self, found: Sequence[Hypothesis], scores: NDArray[np.float32]) -> Hypothesis:
        """The caption of one clip: of several drawn ones that on which they and the tags agree."""
        if len(found) == 1:
            return found[0]
        from sonopsis.scenes.words import parse  # its many patterns take a while to compile

        tags = dict(zip(self.labels, scores.tolist(), strict=True))
        support = [tag_support(parse(self.decode(list(hypothesis.ids))), tags) for hypothesis in found]
        return found[consensus([hypothesis.ids for hypothesis in found], support)]

    def decode(self, ids: list[int]) -> str:
        """Caption token ids -> text."""
        assert self.tokenizer is not None
        return self.tokenizer.decode(ids).strip()

    def _top(self, scores: NDArray[np.float32], top_k: int, threshold: float | None) -> list[tuple[str, float]]:
        order = np.argsort(-scores, kind="stable")[:top_k]
        pairs = [(self.labels[i], float(scores[i])) for i in order]
        return [(label, score) for label, score in pairs if threshold is None or score >= threshold]

    def _pruning(self, keep_rate: float | None) -> Pruning | None:
        return uniform(self.engine.config.depth, self.keep_rate if keep_rate is None else keep_rate)

    def _check_labels(self) -> None:
        if not self.labels:
            raise ModelError(f"{self.name} has no classifier to tag with; only its encoder can be used (encode)")


def _sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    return (1 / (1 + np.exp(-logits.astype(np.float64)))).astype(np.float32)
