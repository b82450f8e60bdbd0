"""The application: routes around one model, and what lives as long as it does."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI

import sonopsis
from sonopsis.many import cores
from sonopsis.model import Model
from sonopsis.serve import describing, errors, health
from sonopsis.serve.desk import Desk
from sonopsis.serve.service import Service
from sonopsis.serve.settings import Settings


def create_app(model: Model, settings: Settings | None = None) -> FastAPI:
    """The service around a model, for any ASGI server; one process, because the model is in its memory."""
    settings = Settings() if settings is None else settings

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        desk = Desk(settings.places, settings.workers)
        threads = model.engine.use_threads(max(1, cores() // settings.workers))
        with tempfile.TemporaryDirectory(prefix="sonopsis-serve-") as folder:
            app.state.service = Service(model, settings, desk, Path(folder))
            yield
            desk.close()
        model.engine.use_threads(threads)

    app = FastAPI(title="sonopsis", version=sonopsis.__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    errors.install(app)
    app.include_router(health.router)
    app.include_router(describing.router)
    return app
