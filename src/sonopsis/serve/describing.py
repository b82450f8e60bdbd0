"""POST /v1/tag and /v1/caption: a recording in, what the command line would write about it out."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from sonopsis.serve.formats import written
from sonopsis.serve.queries import CaptionFileQuery, TagFileQuery
from sonopsis.serve.service import Service, Serving
from sonopsis.writers import WRITERS

router = APIRouter(prefix="/v1")

# The body is read by hand (`sonopsis.serve.bodies`), so its description is by hand too.
RECORDING: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The recording, in the field `file` of a form or as the body itself.",
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            },
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


@router.post("/tag", openapi_extra=RECORDING)
async def tag(request: Request, query: Annotated[TagFileQuery, Query()], service: Serving) -> Response:
    """List the sounds in a recording, window by window."""
    return await _described(request, query, service)


@router.post("/caption", openapi_extra=RECORDING)
async def caption(request: Request, query: Annotated[CaptionFileQuery, Query()], service: Serving) -> Response:
    """Describe a recording in sentences and labels, window by window."""
    return await _described(request, query, service)


async def _described(request: Request, query: TagFileQuery | CaptionFileQuery, service: Service) -> Response:
    async with service.upload(request) as upload, service.in_time():
        declared = WRITERS[query.format].needs_duration
        parts = [part async for part in service.parts(upload, query.question(), declared=declared)]
        return written(parts, query.format, upload.name)
