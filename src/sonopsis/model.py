"""`sonopsis.load()`: a model folder with everything needed to go from a recording to labels and a sentence."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from sonopsis.audio import SAMPLE_RATE, AudioSource, is_silent, iter_windows, probe
from sonopsis.captioner import Captioner
from sonopsis.connector import ConnectorConfig
from sonopsis.consensus import consensus, tag_support
from sonopsis.data.words import parse
from sonopsis.encoder import Checkpoint, Encoded, EncoderConfig, read_checkpoint
from sonopsis.export import export
from sonopsis.folder import WEIGHTS, ModelConfig, ModelError, ModelFolder, is_foreign, open_folder, write_description
from sonopsis.hub import local_path
from sonopsis.mamba2 import Hypothesis, Mamba2Config
from sonopsis.mel import MelConfig, mel_input
from sonopsis.pruning import Pruning, uniform
from sonopsis.results import Caption, FileResult, Tags, WindowResult
from sonopsis.tagger import Tagger

FRAME_SHIFT = 0.01  # seconds between Mel frames
SILENCE = "silence"


def load(
    model: str | os.PathLike[str] = "default",
    *,
    engine: str = "auto",
    keep_rate: float | None = None,
    device: str | None = None,
    dtype: torch.dtype | None = None,
) -> "Model":
    """Load a model folder, a checkpoint of AST, AudioMAE or EAT (file or folder), a hub id, or the bundled `"default"`.

    A hub id is `owner/name` or `owner/name@revision`, fetched unless a path here has that name (extra `hub`).

    `keep_rate` is the share of patch tokens kept at each pruning block (None: the model's own). Raises ModelError, in
    one line, when the model is incomplete or of another kind, and ValueError for an unknown engine, a keep rate
    outside (0, 1] or a device that is not there.
    """
    if engine not in ("auto", "torch"):
        raise ValueError(f"engine {engine!r} is not available; use 'torch' or 'auto'")
    if keep_rate is not None and not 0 < keep_rate <= 1:
        raise ValueError(f"keep_rate must be over 0 and at most 1, not {keep_rate!r}")
    model = local_path(model)
    if is_foreign(model):
        loaded = from_checkpoint(read_checkpoint(model), keep_rate)
    else:
        folder = open_folder(model)
        loaded = Model(folder, _read_module(folder).eval(), keep_rate)
    try:
        loaded.module.to(device=device, dtype=dtype)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {device!r} cannot be used: {str(error).splitlines()[0]}") from error
    return loaded


def from_checkpoint(checkpoint: Checkpoint, keep_rate: float | None = None) -> "Model":
    """A model that tags with another program's weights; one without a classifier only encodes."""
    config = ModelConfig(checkpoint.labels, checkpoint.config.to_dict())
    with torch.device("meta"):  # without the time that random weights take
        module = Tagger(checkpoint.config, len(checkpoint.labels))
    module.load_state_dict(checkpoint.state, assign=True)
    if checkpoint.config.position == "sincos":
        module.encoder.compute_positions()
    folder = ModelFolder(checkpoint.path, config, checkpoint.mel, checkpoint.weights)
    return Model(folder, module.eval(), keep_rate)


def _read_module(folder: ModelFolder) -> Tagger | Captioner:
    """The modules that a model folder describes, with their weights."""
    try:
        module = build(folder.config)
        encoder = module.tagger.encoder if isinstance(module, Captioner) else module.encoder
        for frames in (folder.mel.frames, folder.mel.multiple or folder.mel.frames):
            encoder.config.grid(frames)
    except (ValueError, TypeError, AttributeError) as error:  # AttributeError: a list in place of a part's fields
        raise ModelError(f"{folder.path}: config.json describes no model of this version ({error})") from error
    try:
        missing, unexpected = module.load_state_dict(
            {name: tensor.float() for name, tensor in load_file(folder.weights).items()}, strict=False
        )
    except SafetensorError as error:
        raise ModelError(f"{folder.path}: {folder.weights.name} cannot be read: {error}") from error
    except RuntimeError as error:  # a headline, then a line for each tensor of another shape
        reason = " ".join(str(error).splitlines()[:2][-1].split())
        raise ModelError(f"{folder.path}: weights do not fit config.json; {reason}") from error
    if missing or unexpected:
        raise ModelError(
            f"{folder.path}: weights do not fit config.json; missing {missing[:3]}, unexpected {unexpected[:3]}"
        )
    return module


def build(config: ModelConfig) -> Tagger | Captioner:
    """The untrained modules that a `config.json` describes."""
    encoder = EncoderConfig.from_dict(config.encoder)
    if config.lm is None or config.connector is None:
        return Tagger(encoder, len(config.labels))
    connector = ConnectorConfig.from_dict(config.connector)
    return Captioner(encoder, len(config.labels), connector, Mamba2Config.from_dict(config.lm))


def save(module: Tagger | Captioner, path: Path, config: ModelConfig, mel: MelConfig) -> None:
    """Write a model folder (all but tokenizer and card); matrices are stored in float16."""
    write_description(path, config, mel)
    save_file({name: _half(tensor) for name, tensor in module.state_dict().items()}, path / WEIGHTS)


def _half(tensor: torch.Tensor) -> torch.Tensor:
    """Matrices in float16; vectors stay as they are: decay and step-size of a state space are sensitive, and small."""
    tensor = tensor.detach()
    return (tensor.to(torch.float16) if tensor.ndim > 1 else tensor).contiguous()


def _tokenizer(folder: ModelFolder) -> Tokenizer | None:
    if folder.tokenizer is None:
        return None
    try:
        return Tokenizer.from_file(str(folder.tokenizer))
    except Exception as error:  # the library raises nothing more specific
        raise ModelError(f"{folder.path}: {folder.tokenizer.name} is not a tokenizer ({error})") from error


class Model:
    """A loaded model: recordings in, tags and captions out."""

    def __init__(self, folder: ModelFolder, module: Tagger | Captioner, keep_rate: float | None = None) -> None:
        self.folder = folder
        self.module = module
        self.tagger = module.tagger if isinstance(module, Captioner) else module
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

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write a model folder that loads as this same model; raises ValueError for a folder that is not empty."""
        export(self, Path(folder), to="folder")

    # The stages, in the order of the data: samples -> mel -> tokens -> logits.

    def mel(self, audio: AudioSource, *, sample_rate: int | None = None) -> NDArray[np.float32]:
        """A recording's first window as normalised log-Mel (1, T, 128) float32."""
        first = next(iter_windows(audio, window=self.window, sample_rate=sample_rate))
        return mel_input(first.samples, self.folder.mel)

    @torch.inference_mode()
    def logits(self, mel: Any, *, keep_rate: float | None = None) -> NDArray[np.float32]:
        """Normalised log-Mel (B, T, 128), array or tensor -> tag logits (B, labels) float32."""
        return self.tagger(self._tensor(mel), self._pruning(keep_rate)).float().cpu().numpy()

    @torch.inference_mode()
    def encode(self, mel: Any, *, keep_rate: float | None = None) -> Encoded:
        """Normalised log-Mel (B, T, 128), array or tensor -> surviving tokens with their grid positions, as NumPy."""
        return self.tagger.encode(self._tensor(mel), self._pruning(keep_rate)).numpy()

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

    @torch.inference_mode()
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
        if captions and not isinstance(self.module, Captioner):
            raise ModelError(f"{self.name} only tags; it has no language model to caption with")
        if not self.labels:
            raise ModelError(f"{self.name} has no classifier to tag with; only its encoder can be used (encode)")
        if is_silent(samples):
            caption, score = (SILENCE, 0.0) if captions else (None, None)
            return WindowResult(0.0, end, [(SILENCE, 1.0)], caption, score)
        pruning = self._pruning(keep_rate)
        mel = self._tensor(mel_input(samples, self.folder.mel))  # (1, T, M)
        if not captions:
            scores = self.tagger(mel, pruning)[0].sigmoid()
            return WindowResult(0.0, end, self._top(scores, top_k, threshold), None, None)
        assert isinstance(self.module, Captioner)
        encoded = self.module.encode(mel, pruning)
        scores = self.tagger.logits(encoded)[0].sigmoid()
        best = self._best(encoded, scores, beams)
        return WindowResult(0.0, end, self._top(scores, top_k, threshold), self.decode(list(best.ids)), best.score)

    def _best(self, encoded: Encoded[torch.Tensor], scores: torch.Tensor, beams: int) -> Hypothesis:
        """The caption of one clip: of drawn ones that on which they and the tags agree, if the model asks for it."""
        assert isinstance(self.module, Captioner)
        config = self.folder.config
        if beams > 1 or not config.caption_samples:
            return self.module.generate(encoded, max_new_tokens=config.max_caption_tokens, beams=beams)[0]
        (drawn,) = self.module.draw(encoded, max_new_tokens=config.max_caption_tokens, samples=config.caption_samples)
        tags = dict(zip(self.labels, scores.tolist(), strict=True))
        support = [tag_support(parse(self.decode(list(hypothesis.ids))), tags) for hypothesis in drawn]
        return drawn[consensus([hypothesis.ids for hypothesis in drawn], support)]

    def decode(self, ids: list[int]) -> str:
        """Caption token ids -> text."""
        assert self.tokenizer is not None
        return self.tokenizer.decode(ids).strip()

    def _top(self, scores: torch.Tensor, top_k: int, threshold: float | None) -> list[tuple[str, float]]:
        values, order = scores.topk(min(top_k, len(self.labels)))
        pairs = zip(order.tolist(), values.tolist(), strict=True)
        return [(self.labels[i], value) for i, value in pairs if threshold is None or value >= threshold]

    def _pruning(self, keep_rate: float | None) -> Pruning | None:
        return uniform(self.tagger.encoder.config.depth, self.keep_rate if keep_rate is None else keep_rate)

    def _tensor(self, mel: Any) -> torch.Tensor:
        parameter = next(self.module.parameters())
        return torch.as_tensor(mel).to(device=parameter.device, dtype=parameter.dtype)
