"""GET /metrics: what the service has done, for Prometheus."""

import time
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from starlette.types import ASGIApp, Message, Receive, Scope, Send

if TYPE_CHECKING:
    from sonopsis.serve.desk import Desk

BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)  # s
OTHER = "other"  # the route of a path that does not exist

EXAMPLE = """# HELP sonopsis_places_taken Requests that are served or wait.
# TYPE sonopsis_places_taken gauge
sonopsis_places_taken 0.0
"""
FIGURES: Any = {"text/plain": {"schema": {"type": "string"}, "example": EXAMPLE}}

router = APIRouter()


class Metrics:
    """The figures of one service, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.requests = Counter(
            "sonopsis_requests", "Answers, by route and HTTP status.", ("route", "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "sonopsis_request_seconds",
            "From the first byte of a request to the last of its answer.",
            ("route",),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.windows = Counter("sonopsis_windows", "Windows that were described.", registry=self.registry)
        self.audio = Counter("sonopsis_audio_seconds", "Sound that was described.", registry=self.registry)

    def watch(self, desk: "Desk") -> None:
        """Show how many places are taken, and how many there are."""
        taken = Gauge("sonopsis_places_taken", "Requests that are served or wait.", registry=self.registry)
        taken.set_function(lambda: desk.taken)
        Gauge("sonopsis_places", "Requests that are accepted at once.", registry=self.registry).set(desk.places)


class Measured:
    """Counts and times the requests of an app."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun, status = time.monotonic(), 0

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, noted)
        finally:
            metrics: Metrics = scope["app"].state.metrics
            route = getattr(scope.get("route"), "path", OTHER)
            metrics.requests.labels(route, status or 500).inc()
            metrics.seconds.labels(route).observe(time.monotonic() - begun)


@router.get("/metrics", response_class=Response, responses={200: {"content": FIGURES}})
async def figures(request: Request) -> Response:
    """What the service has done, in the text format of Prometheus."""
    metrics: Any = request.app.state.metrics
    return Response(generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
