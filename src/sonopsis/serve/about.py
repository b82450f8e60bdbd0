"""GET /v1/model: what the model is, as `sonopsis info --json` tells it."""

from typing import Any

from fastapi import APIRouter, Request

from sonopsis.facts import describe_model
from sonopsis.serve.openapi import ERRORS
from sonopsis.serve.service import Serving

router = APIRouter(prefix="/v1")


@router.get("/model", responses={401: ERRORS[401]})
async def model(request: Request, service: Serving) -> dict[str, Any]:
    """Show the model's sizes, its cost at each keep rate, its labels and what it was trained on."""
    service.authorise(request)
    return await service.desk.result(lambda: describe_model(service.model))
