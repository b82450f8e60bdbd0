"""POST /v1/ask: a recording and questions in, an answer to each question for each window out."""

from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from sonopsis.asking import LONGEST_QUESTION
from sonopsis.audio.source import Watched
from sonopsis.results import Answer
from sonopsis.serve.openapi import ANSWERS, ERRORS, RECORDING
from sonopsis.serve.queries import Share
from sonopsis.serve.service import Serving

router = APIRouter(prefix="/v1")

Text = Annotated[str, Field(min_length=1, max_length=LONGEST_QUESTION)]


class AskQuery(BaseModel):
    """What is asked about a recording; a parameter of another name is an error."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    question: list[Text] = Field(min_length=1, max_length=32, description='Such as "is there a dog?"; may be repeated.')
    window: float | None = Field(
        None, ge=0.1, description="Length of a window in seconds; without it, the model's own, which is the longest."
    )
    hop: float | None = Field(
        None, ge=0.01, description="Seconds from one window's start to the next; without it, none overlap."
    )
    keep_rate: Share | None = Field(
        None, description="Share of the patches that each pruning block keeps; without it, the service's own."
    )
    name: str | None = Field(None, description="What messages call a recording that is sent as the body itself.")


@router.post("/ask", openapi_extra=RECORDING, responses={**ANSWERS, **ERRORS})
async def ask(request: Request, query: Annotated[AskQuery, Query()], service: Serving) -> list[dict[str, Any]]:
    """Answer questions about a recording, window by window; each window is heard once."""

    def hear(recording: Watched) -> Iterator[Answer]:
        how: dict[str, Any] = {"window": query.window, "hop": query.hop, "keep_rate": query.keep_rate}
        return service.model.answers(recording, query.question, **how)

    async with service.upload(request) as upload:
        answers = await service.awaited(request, service.heard(upload, hear))
        return [answer.to_dict() for answer in answers]
