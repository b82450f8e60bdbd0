"""POST /v1/convert: results that a program or the page already has, in another format and without hearing anew."""

from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from sonopsis.events import join_windows
from sonopsis.results import FileResult, LabelScore, Part, Status, WindowResult
from sonopsis.serve.bodies import Upload
from sonopsis.serve.errors import ServiceError
from sonopsis.serve.formats import written
from sonopsis.serve.openapi import ERRORS, inlined
from sonopsis.serve.queries import FormatQuery
from sonopsis.serve.service import Serving

Seconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]  # 30 years: writers count in ms


class Label(BaseModel):
    """A label with its score; its id and parents are known from its name."""

    label: str
    score: Annotated[float, Field(ge=0, le=1)]
    distilled: bool = False

    def pair(self) -> LabelScore:
        """The same as results hold it."""
        return LabelScore(self.label, self.score, self.distilled)


class Window(BaseModel):
    """A window of a result in JSON."""

    start: Seconds
    end: Seconds
    status: Status = "heard"
    labels: list[Label] = []
    guess: Label | None = None
    caption: str | None = None
    score: float | None = None
    confidence: float | None = None

    def result(self) -> WindowResult:
        """The same as writers take it."""
        guess = None if self.guess is None else self.guess.pair()
        return WindowResult(
            self.start,
            self.end,
            [label.pair() for label in self.labels],
            self.caption,
            self.score,
            status=self.status,
            guess=guess,
            confidence=self.confidence,
        )


class Recording(BaseModel):
    """One recording of the array that the format json holds."""

    path: str
    duration: Seconds = 0
    model: str = ""
    windows: list[Window] = []

    def parts(self, events: bool) -> Iterator[Part]:
        """What writers are told of it, window by window or event by event."""
        head = FileResult(self.path, self.duration, self.model)
        windows = (window.result() for window in self.windows)
        yield from (Part(head, window) for window in (join_windows(windows) if events else windows))
        yield Part(head, None)


RESULTS = TypeAdapter(Annotated[list[Recording], Field(min_length=1, max_length=1)])
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "What /v1/tag or /v1/caption answered in the format json.",
        "content": {"application/json": {"schema": inlined(RESULTS.json_schema())}},
    }
}


class ConvertQuery(FormatQuery):
    """What is to be written."""

    events: bool = Field(False, description="Join windows into events with onset and offset.")


router = APIRouter(prefix="/v1")


@router.post("/convert", openapi_extra=BODY, response_class=Response, responses=ERRORS)
async def convert(request: Request, query: Annotated[ConvertQuery, Query()], service: Serving) -> Response:
    """Write the results of a recording in another format."""

    def work(upload: Upload) -> Generator[Response, None, None]:
        (recording,) = parsed(upload.path.read_bytes())
        parts = going_on(upload, recording.parts(query.events))
        yield written(parts, query.format, replace(upload, name=recording.path))

    async with service.upload(request, service.settings.max_results) as upload:
        (answer,) = await service.awaited(request, service.worked(upload, work(upload)))
        return answer


def going_on(upload: Upload, parts: Iterator[Part]) -> Iterator[Part]:
    """The parts, until the request has ended: then Stopped is raised."""
    for part in parts:
        upload.place.go_on()
        yield part


def parsed(body: bytes) -> list[Recording]:
    """Results in JSON, checked; raises ServiceError."""
    try:
        return RESULTS.validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the body"
        raise ServiceError(
            422, "bad_results", f"these are no results of this service: {place}: {first['msg']}"
        ) from error
