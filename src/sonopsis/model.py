"""`sonopsis.load()`: a model with everything needed to go from a recording to labels and a sentence."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonopsis.asking import listener
from sonopsis.audio import SAMPLE_RATE, AudioSource, Window, is_silent, iter_windows
from sonopsis.audio.read import check_windows
from sonopsis.calibration import Calibration
from sonopsis.decoding.consensus import CaptionParser
from sonopsis.encoder.encoded import Encoded, pooled
from sonopsis.engines.base import Engine, Prompt
from sonopsis.engines.choice import ENGINES, open_engine
from sonopsis.export import export
from sonopsis.files import ModelError
from sonopsis.folder import ModelFolder, describe
from sonopsis.handover import in_order
from sonopsis.hub import locate
from sonopsis.many import Recording, Result, counted, follow_many, is_stream, parts_of
from sonopsis.mel import mel_input
from sonopsis.pruning.config import Pruning, uniform
from sonopsis.request import Describe
from sonopsis.request import Request as Request
from sonopsis.results import SILENCE, Answer, Caption, FileResult, LabelScore, Part, Tags, WindowResult, gathered
from sonopsis.speaker import UNCLEAR_CAPTION, Speaker

SILENT_CAPTION = "Silence."


def load(
    model: str | os.PathLike[str] = "default",
    *,
    engine: str = "auto",
    keep_rate: float | None = None,
    device: str | None = None,
    dtype: Any = None,
) -> "Model":
    """Load a model folder, a checkpoint of AST, AudioMAE, EAT or Whisper, a hub id, or the bundled `"default"`.

    A hub id is `owner/name` or `owner/name@revision`, fetched unless a path here has that name (extra `hub`).
    `keep_rate` is the share of patch tokens kept at each pruning block (None: the model's own). `engine` is `"torch"`,
    or, for exported models, `"onnx"` or `"openvino"`; `"auto"` takes the fastest that is there. `dtype` is a name like
    `"bfloat16"` or one of torch's (None: float32). Raises ModelError, in one line, when the model is incomplete or of
    another kind, and ValueError for an unknown engine, dtype, a keep rate outside (0, 1] or a device that is not there.
    """
    if keep_rate is not None and not 0 < keep_rate <= 1:
        raise ValueError(f"keep_rate must be over 0 and at most 1, not {keep_rate!r}")
    if engine not in ENGINES:
        raise ValueError(f"engine {engine!r} is not available; choose one of {', '.join(ENGINES)}")
    folder = describe(locate(model))
    return Model(folder, open_engine(folder, engine, device, dtype), keep_rate)


class Model:
    """A loaded model: recordings in, tags and captions out."""

    _abreast = 1  # windows of a recording that are described at once

    def __init__(
        self,
        folder: ModelFolder,
        engine: Engine,
        keep_rate: float | None = None,
        parse: CaptionParser | None = None,
    ) -> None:
        """`parse` tells which labels a caption names (None: the project's word table for labels of its vocabulary,
        the labels' own words for others)."""
        self.folder = folder
        self.engine = engine
        self.labels = folder.config.labels
        self.keep_rate = folder.config.keep_rate if keep_rate is None else keep_rate
        self.tokenizer = folder.open_tokenizer()
        self._calibration = folder.config.calibration or Calibration()
        self._speaker = Speaker(engine, folder, self.tokenizer, parse)

    @property
    def name(self) -> str:
        """What results call the model."""
        return self.folder.name

    @property
    def window(self) -> float:
        """Seconds of audio the model hears at once."""
        return self.folder.window

    @property
    def module(self) -> Any:
        """The torch module, a Tagger or a Captioner; raises ModelError on an engine that has none."""
        module = getattr(self.engine, "module", None)
        if module is None:
            raise ModelError(f"{self.name} runs on {self.engine.name}, without torch; load it with engine='torch'")
        return module

    def prepare(self) -> None:
        """Do now what makes many captions faster: the torch engine compiles its kernels (half a minute, once on a
        machine), which pays from some 200 windows on. Other engines have nothing to prepare."""
        self.engine.prepare()

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write a model folder that loads as this same model; raises ValueError for a folder that is not empty."""
        self.export(folder)

    def export(self, folder: str | os.PathLike[str], *, to: str = "folder") -> None:
        """Write the model into a new or empty folder, in a form of `sonopsis.export.TARGETS`: our layout (`"folder"`),
        with graphs (`"onnx"`, `"openvino"`; `"int8"`: one in eight bits too), or for transformers (`"hf"`)."""
        state = self.module.state_dict() if self.engine.name == "torch" else None
        export(self.folder.at(self.keep_rate), state, Path(folder), to=to)

    # The stages, in the order of the data: samples -> mel -> tokens -> logits.

    def mel(self, audio: AudioSource, *, sample_rate: int | None = None) -> NDArray[np.float32]:
        """A recording's first window as normalised log-Mel (1, T, M) float32."""
        return mel_input(next(self.pieces(audio, sample_rate=sample_rate)).samples, self.folder.mel)

    def logits(self, mel: Any, *, keep_rate: float | None = None) -> NDArray[np.float32]:
        """Normalised log-Mel (B, T, M), array or tensor -> tag logits (B, labels) float32."""
        self._check_labels()
        return self.engine.logits(mel, self._pruning(keep_rate))

    def probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Tag logits of any shape -> the scores that results show, calibrated where the model has been, alike."""
        return self._calibration.probabilities(logits)

    def encode(self, mel: Any, *, keep_rate: float | None = None) -> Encoded[Any]:
        """Normalised log-Mel (B, T, M), array or tensor -> surviving tokens with their grid positions, as NumPy."""
        return self.engine.encode(mel, self._pruning(keep_rate))

    def embed(self, mel: Any, *, keep_rate: float | None = None) -> NDArray[np.float32]:
        """Normalised log-Mel (B, T, M), array or tensor -> the vector that the classifier reads, (B, D) float32."""
        vectors: NDArray[np.float32] = pooled(self.encode(mel, keep_rate=keep_rate), self.engine.config.pooling)
        return vectors

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
        """The `top_k` labels of each window with their scores in [0, 1], of those that reach their threshold.

        `threshold` is the same for all labels (0: show every label); None takes the model's own for each label, where
        it has them. A window without a label is unclear; `describe` has the best guess.
        `window` and `hop` are in seconds; the default is the model's own input length without overlap.
        """
        request = Request(top_k=top_k, threshold=threshold, window=window, hop=hop, keep_rate=keep_rate)
        return [Tags(w.start, w.end, w.labels or []) for w in self._windows(audio, request, sample_rate)]

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
        """One sentence for each window, with the mean log-probability of its tokens as score.

        A model with thresholds says "An unclear sound." where no label reaches its own, or the tags do not believe the
        best sentence (`sonopsis.calibration`).
        """
        request = Request(captions=True, window=window, hop=hop, beams=beams, keep_rate=keep_rate)
        heard = self._windows(audio, request, sample_rate)
        return [Caption(w.start, w.end, w.caption or "", w.score or 0.0, w.confidence) for w in heard]

    def ask(
        self,
        audio: AudioSource,
        questions: str | Sequence[str],
        *,
        sample_rate: int | None = None,
        window: float | None = None,
        hop: float | None = None,
        keep_rate: float | None = None,
    ) -> list[Answer]:
        """The answers to each question about each window, in the order of windows, then of questions.

        A window is heard once, however many questions there are (`sonopsis.asking`); a silent one is answered
        "silence". Raises ModelError for a model that has not learned to answer, ValueError for a text without words.
        """
        how: dict[str, Any] = {"window": window, "hop": hop, "keep_rate": keep_rate}
        return list(self.answers(audio, questions, sample_rate=sample_rate, **how))

    def answers(
        self,
        audio: AudioSource,
        questions: str | Sequence[str],
        *,
        sample_rate: int | None = None,
        window: float | None = None,
        hop: float | None = None,
        keep_rate: float | None = None,
    ) -> Iterator[Answer]:
        """What `ask` returns, one answer at a time as they are found.

        The arguments are those of `ask`; what that raises, this raises when the first answer is asked for.
        """
        hear = listener(self.engine, self.folder, self.tokenizer, questions, self._pruning(keep_rate))
        self._check(Request(captions=True, window=window))
        for piece in self.pieces(audio, window, hop, sample_rate):
            yield from hear(piece)

    def describe(self, path: str | os.PathLike[str], request: Request | None = None) -> FileResult:
        """All that is asked about one file, in a single pass; raises AudioError when it cannot be read."""
        return next(gathered(self.follow(path, request)))

    def follow(
        self,
        source: Recording,
        request: Request | None = None,
        *,
        declared: bool = False,
        describe: Describe | None = None,
    ) -> Iterator[Part]:
        """The windows of one file or stream as they are described, and its end; memory does not grow with its length.

        `declared` gives the windows the duration that the recording declares. `describe` makes results of the windows
        (None: one of each). Raises AudioError.
        """
        request = Request() if request is None else request
        gaps = request.hop is not None and request.hop > (self.window if request.window is None else request.window)
        windows = partial(self._windows, request=request, describe=describe)
        return parts_of(source, windows, self.name, gaps=gaps, declared=declared)

    def follow_many(
        self,
        sources: Sequence[Recording],
        request: Request | None = None,
        *,
        follow: Callable[..., Iterator[Part]] | None = None,
        declared: bool = False,
        workers: int | None = None,
    ) -> Iterator[Part]:
        """`follow` (None: the model's own) of each source in turn; the last part of one that fails has the error.
        `workers` of them are described at once (None: one for each core). Raises ModelError and ValueError at once."""
        request = Request() if request is None else request
        self._check(request)
        self._pruning(request.keep_rate)  # raises for a rate that makes no sense
        window = self.window if request.window is None else request.window
        check_windows(window, window if request.hop is None else request.hop)
        if workers is not None and workers < 1:
            raise ValueError(f"workers must be at least 1, not {workers!r}")
        one = partial(follow or self.follow, request=request, declared=declared)
        return follow_many(one, sources, self.name, partial(self._divide, sources), workers=workers)

    def _divide(self, sources: Sequence[Recording], count: int) -> Callable[[], None]:
        """Use so many cores for each recording from now on: for as many windows at once, with a thread each, except
        where one is a stream, whose next window comes later. Returns what undoes this."""
        threads, windows = (count, 1) if count > 1 and any(map(is_stream, sources)) else (1, count)
        before, self._abreast = self._abreast, windows
        engine = self.engine.use_threads(threads)

        def undo() -> None:
            self._abreast = before
            self.engine.use_threads(engine)

        return undo

    def describe_many(
        self,
        paths: Sequence[str | os.PathLike[str]],
        *,
        captions: bool = True,
        top_k: int = 5,
        threshold: float | None = None,
        window: float | None = None,
        hop: float | None = None,
        beams: int = 1,
        keep_rate: float | None = None,
        embeddings: bool = False,
        workers: int | None = None,
        progress: Callable[[int, int], object] | None = None,
    ) -> Iterator[FileResult]:
        """One result for each file, in their order; a file that cannot be described has its error in its result.

        `workers` files are described at once (None: one for each core). `progress(done, files)` is called after each
        result has been taken. Raises ModelError for what is wrong with every file, such as captions of a model that
        only tags, and ValueError for a wrong option, both at once.
        """
        request = Request(captions, top_k, threshold, window, hop, beams, keep_rate, embeddings)
        results = gathered(self.follow_many(paths, request, workers=workers))
        return results if progress is None else counted(results, len(paths), progress)

    def describe_samples(
        self, samples: NDArray[np.float32], request: Request | None = None, prompt: Prompt | None = None
    ) -> WindowResult:
        """All that is asked about one window's samples (S,) at 16 kHz; silence is called silence.

        `prompt` is what the engine heard in these samples, if it is known. `window` and `hop` of the request play no
        part.
        """
        request = Request() if request is None else request
        self._check(request)
        end, pruning = len(samples) / SAMPLE_RATE, self._pruning(request.keep_rate)
        silent = is_silent(samples)
        needed = request.embeddings or (prompt is None and not silent)
        mel = mel_input(samples, self.folder.mel) if needed else None  # (1, T, M)
        embedding = self.embed(mel, keep_rate=request.keep_rate)[0] if request.embeddings else None
        if silent:
            caption, score = (SILENT_CAPTION, 0.0) if request.captions else (None, None)
            return WindowResult(0.0, end, [LabelScore(SILENCE, 1.0)], caption, score, embedding, "silence")
        if prompt is None and not request.captions:
            return self._window(end, self.probabilities(self.engine.logits(mel, pruning)[0]), request, embedding)
        prompt = self.engine.prompt(mel, pruning) if prompt is None else prompt
        scores = self.probabilities(prompt.logits[0])
        window = self._window(end, scores, request, embedding)
        if not request.captions:
            return window
        if not self._heard(scores).any():
            return replace(window, caption=UNCLEAR_CAPTION)
        return self._speaker.caption(window, prompt, scores, request.beams)

    def decode(self, ids: Sequence[int]) -> str:
        """Caption token ids -> text; raises ModelError for a model without a tokenizer."""
        return self._speaker.decode(ids)

    def pieces(
        self, audio: AudioSource, window: float | None = None, hop: float | None = None, sample_rate: int | None = None
    ) -> Iterator[Window]:
        """The windows of a recording with all the samples that this model reads; arguments as in `tag`."""
        length, beyond = self.window if window is None else window, self.folder.mel.beyond
        return iter_windows(audio, window=length, hop=hop, sample_rate=sample_rate, beyond=beyond)

    def _windows(
        self, audio: AudioSource, request: Request, sample_rate: int | None = None, describe: Describe | None = None
    ) -> Iterator[WindowResult]:
        self._check(request)
        pieces = self.pieces(audio, request.window, request.hop, sample_rate)
        yield from (describe or self._each)(pieces, request)

    def _each(self, pieces: Iterator[Window], request: Request) -> Iterator[WindowResult]:
        def work(piece: Window) -> WindowResult:
            return replace(self.describe_samples(piece.samples, request), start=piece.start, end=piece.end)

        return self.map_windows(work, pieces)

    def map_windows(self, work: Callable[[Window], Result], pieces: Iterable[Window]) -> Iterator[Result]:
        """`work` of each window in the order of time; of files that `follow_many` describes, of several at once."""
        return in_order(work, pieces, self._abreast)

    def shown(self, scores: NDArray[np.float32], request: Request) -> list[LabelScore]:
        """The labels whose scores (labels,) reach their threshold, best first, at most `top_k`."""
        heard = self._heard(scores) if request.threshold is None else scores >= request.threshold
        order = [i for i in np.argsort(-scores, kind="stable") if heard[i]]
        return [self._pair(scores, i) for i in order[: request.top_k]]

    def _pair(self, scores: NDArray[np.float32], i: int) -> LabelScore:
        return LabelScore(self.labels[i], float(scores[i]), self.labels[i] in self.folder.config.distilled_labels)

    def _window(
        self, end: float, scores: NDArray[np.float32], request: Request, embedding: NDArray[np.float32] | None
    ) -> WindowResult:
        """The labels that are shown, or the best guess where there is none."""
        if shown := self.shown(scores, request):
            return WindowResult(0.0, end, shown, embedding=embedding)
        guess = self._pair(scores, int(scores.argmax()))
        return WindowResult(0.0, end, [], embedding=embedding, status="unclear", guess=guess)

    def _heard(self, scores: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Which labels (labels,) reach the model's own thresholds; all where it has none."""
        own = self.folder.config.thresholds
        return scores >= np.array([own.get(label, 0.0) for label in self.labels])

    def _pruning(self, keep_rate: float | None) -> Pruning | None:
        return uniform(self.engine.config.depth, self.keep_rate if keep_rate is None else keep_rate)

    def _check(self, request: Request) -> None:
        """Raise for a request that this model cannot serve, whatever the recording."""
        if request.captions and not self.engine.captions:
            raise ModelError(f"{self.name} only tags; it has no language model to caption with")
        self._check_labels()
        if request.window is not None and not 0 < request.window <= self.window:
            raise ValueError(f"a window must last between 0 and {self.window:g} s, what the model hears at once")

    def _check_labels(self) -> None:
        if not self.labels:
            raise ModelError(f"{self.name} has no classifier to tag with; only its encoder can be used (encode)")
