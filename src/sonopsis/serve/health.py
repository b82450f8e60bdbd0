"""GET /healthz: whether the service is up."""

from typing import Any

from fastapi import APIRouter

from sonopsis.serve.service import Serving

router = APIRouter()

EXAMPLE = {"status": "ok", "model": "default", "engine": "onnx", "places": {"taken": 0, "all": 34}}


@router.head("/healthz", include_in_schema=False)
@router.get("/healthz", responses={200: {"content": {"application/json": {"example": EXAMPLE}}}})
async def healthz(service: Serving) -> dict[str, Any]:
    """Whether the service is up, with which model, and how many of its places are taken."""
    return {
        "status": "ok",
        "model": service.model.name,
        "engine": service.model.engine.name,
        "places": {"taken": service.desk.taken, "all": service.desk.places},
    }
