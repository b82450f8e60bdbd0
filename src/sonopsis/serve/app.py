"""The application: routes around one model, and what lives as long as it does."""

import logging
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI

import sonopsis
from sonopsis.many import cores
from sonopsis.model import Model
from sonopsis.serve import about, asking, convert, describing, errors, events, health, lacking, metrics, patches, site
from sonopsis.serve.desk import Desk
from sonopsis.serve.metrics import Measured, Metrics
from sonopsis.serve.notes import Notes
from sonopsis.serve.openapi import KEY
from sonopsis.serve.service import Service
from sonopsis.serve.settings import Settings


def create_app(model: Model, settings: Settings | None = None) -> FastAPI:
    """The service around a model, for any ASGI server; one process, because the model is in its memory."""
    settings = Settings() if settings is None else settings

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        desk, notes = Desk(settings.places, settings.workers), Notes()
        app.state.metrics.watch(desk)
        logging.getLogger("sonopsis").addHandler(notes)
        threads = model.engine.use_threads(max(1, cores() // settings.workers))
        with tempfile.TemporaryDirectory(prefix="sonopsis-serve-") as folder:
            app.state.service = Service(model, settings, desk, Path(folder), app.state.metrics, notes)
            yield
            await desk.close()
        logging.getLogger("sonopsis").removeHandler(notes)
        model.engine.use_threads(threads)

    app = FastAPI(title="sonopsis", version=sonopsis.__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.metrics = Metrics()
    app.add_middleware(Measured)
    errors.install(app)
    app.include_router(health.router)
    app.include_router(metrics.router)
    app.include_router(site.router)
    routers = [about.router, describing.router, events.router, patches.router, convert.router]
    routers += [describing.captions] if model.engine.captions else []
    routers += [asking.router] if model.folder.config.answers else []
    for router in routers:
        app.include_router(router, dependencies=KEY if settings.api_key else [])
    app.include_router(lacking.refusals(model))
    return app
