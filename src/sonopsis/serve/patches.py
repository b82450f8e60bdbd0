"""POST /v1/patches: which patches of a window pruning keeps, at several keep rates, and what each rate costs."""

import base64
from collections.abc import Iterator, Sequence
from itertools import islice
from time import perf_counter
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from sonopsis.audio import Window
from sonopsis.audio.source import Watched
from sonopsis.cost.macs import encoder_macs
from sonopsis.encoder.trace import Trace
from sonopsis.mel import mel_input
from sonopsis.model import Model
from sonopsis.pruning.config import uniform
from sonopsis.serve.openapi import ERRORS, RECORDING
from sonopsis.serve.queries import Share
from sonopsis.serve.service import Serving

ROUNDS = 2  # timed runs of each keep rate, which take turns; the shorter one counts
LABELS = 3  # named at each keep rate
MOST = 10  # keep rates in one request


class Mel(BaseModel):
    """A log-Mel spectrogram as a grey image."""

    frames: int
    bins: int
    levels: str = Field(description="base64 of one byte a value, 0 the lowest, frame after frame, low bins first")


class Grid(BaseModel):
    """How many patches there are; patch `time * frequency_rows + frequency` is the one at (time, frequency)."""

    time: int
    frequency: int


class Cost(BaseModel):
    """Multiply-accumulates in G of tagging this window."""

    reference: float = Field(description="as arXiv 2504.01690 counts: a pruning block computes all of its attention")
    executed: float = Field(description="what is really computed")


class Best(BaseModel):
    """A label with its score from 0 to 1."""

    label: str
    score: float


class Rate(BaseModel):
    """What one keep rate leaves of the window, what it costs and what the model then hears."""

    keep_rate: float
    tokens: list[int] = Field(description="patches before pruning and after each pruning block")
    survived: list[int] = Field(description="of each patch: how many pruning blocks it survived")
    macs_g: Cost
    milliseconds: float = Field(description="of tagging the window on this machine, measured now")
    labels: list[Best]


class Looked(BaseModel):
    """One window as the model sees it, at every keep rate that was asked for."""

    model: str
    start: float = Field(description="of the window, in seconds of the recording")
    seconds: float
    window: float = Field(description="seconds that the model hears at once")
    keep_rate: float = Field(description="the model's own")
    mel: Mel
    grid: Grid
    rates: list[Rate]


class PatchesQuery(BaseModel):
    """Which window, and which keep rates."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    number: int = Field(0, ge=0, description="Number of the window; the first one is 0.")
    keep_rate: list[Share] = Field(
        [], max_length=MOST, description="May be given several times; without it, the service's own."
    )
    name: str | None = Field(None, description="What messages call a recording that is sent as the body itself.")


router = APIRouter(prefix="/v1")


@router.post("/patches", openapi_extra=RECORDING, responses=ERRORS)
async def patches(request: Request, query: Annotated[PatchesQuery, Query()], service: Serving) -> Looked:
    """See which patches of a window pruning keeps at each keep rate, what that costs, and what is heard then."""
    model = service.model

    def hear(recording: Watched) -> Iterator[Looked | None]:
        yield from look(model, nth_window(model, recording, query.number), query.keep_rate or [model.keep_rate])

    async with service.upload(request) as upload:
        *_, looked = await service.awaited(request, service.heard(upload, hear))
        assert looked is not None
        return looked


def nth_window(model: Model, recording: Watched, number: int) -> Window:
    """Window `number` (from 0) of a recording as a model hears it; raises ValueError beyond its end, AudioError."""
    found = next(islice(model.pieces(recording), number, None), None)
    if found is None:
        raise ValueError(f"the recording has no window {number} of {model.window:g} s; count windows from 0")
    return found


def look(model: Model, window: Window, keep_rates: Sequence[float]) -> Iterator[Looked | None]:
    """What `model` sees of a window at each keep rate, after None for each step; times are measured in turns."""
    engine, mel = model.engine, mel_input(window.samples, model.folder.mel)  # (1, T, M)
    prunings = [uniform(engine.config.depth, rate) for rate in keep_rates]
    found = list[Any]()
    for pruning in prunings:
        found.append((engine.encode(mel, pruning), engine.logits(mel, pruning)))
        yield None
    shortest = [np.inf] * len(prunings)  # seconds
    for _ in range(ROUNDS):
        for place, pruning in enumerate(prunings):
            begun = perf_counter()
            engine.logits(mel, pruning)
            shortest[place] = min(shortest[place], perf_counter() - begun)
            yield None
    rates = []
    for rate, (encoded, logits), seconds in zip(keep_rates, found, shortest, strict=True):
        trace = Trace.of(encoded)
        macs = encoder_macs(engine.config, mel.shape[1], rate, len(model.labels))
        rates.append(
            Rate(
                keep_rate=rate,
                tokens=[int(np.prod(trace.grid)), *trace.counts],
                survived=np.sum([np.zeros(trace.grid, int), *trace.stages], axis=0).ravel().tolist(),
                macs_g=Cost(reference=macs.reference, executed=macs.executed),
                milliseconds=1000 * seconds,
                labels=_best(model, logits[0]),
            )
        )
    time, frequency = found[0][0].grid
    yield Looked(
        model=model.name,
        start=window.start,
        seconds=window.end - window.start,
        window=model.window,
        keep_rate=model.keep_rate,
        mel=Mel(frames=mel.shape[1], bins=mel.shape[2], levels=levels(mel[0])),
        grid=Grid(time=time, frequency=frequency),
        rates=rates,
    )


def levels(mel: NDArray[np.float32]) -> str:
    """A log-Mel (T, M) in bytes from its lowest (0) to its highest value (255), as base64."""
    low, high = float(mel.min()), float(mel.max())
    grey = np.round(255 * (mel - low) / max(high - low, 1e-6)).astype(np.uint8)
    return base64.b64encode(grey.tobytes()).decode("ascii")


def _best(model: Model, logits: NDArray[np.float32]) -> list[Best]:
    scores = model.probabilities(logits)
    order = np.argsort(-scores, kind="stable")[:LABELS]
    return [Best(label=model.labels[i], score=float(scores[i])) for i in order]
