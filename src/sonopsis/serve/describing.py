"""POST /v1/tag and /v1/caption: a recording in, what the command line would write about it out."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from sonopsis.serve.formats import written
from sonopsis.serve.openapi import CAPTIONS, ERRORS, RECORDING, TAGS
from sonopsis.serve.queries import CaptionFileQuery, TagFileQuery
from sonopsis.serve.service import Service, Serving
from sonopsis.writers import WRITERS

router, captions = APIRouter(prefix="/v1"), APIRouter(prefix="/v1")  # the latter for models that caption


@router.post("/tag", openapi_extra=RECORDING, response_class=Response, responses={**TAGS, **ERRORS})
async def tag(request: Request, query: Annotated[TagFileQuery, Query()], service: Serving) -> Response:
    """List the sounds in a recording, window by window."""
    return await _described(request, query, service)


@captions.post("/caption", openapi_extra=RECORDING, response_class=Response, responses={**CAPTIONS, **ERRORS})
async def caption(request: Request, query: Annotated[CaptionFileQuery, Query()], service: Serving) -> Response:
    """Describe a recording in sentences and labels, window by window."""
    return await _described(request, query, service)


async def _described(request: Request, query: TagFileQuery | CaptionFileQuery, service: Service) -> Response:
    async with service.upload(request) as upload:
        declared = WRITERS[query.format].needs_duration
        parts = await service.awaited(request, service.parts(upload, query.question(), declared=declared))
        return written(parts, query.format, upload)
