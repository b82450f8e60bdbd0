"""The HTTP service: one model in memory, recordings in by upload, results out in every format of `sonopsis.writers`.

    request -> key, place in the queue (limits) -> body -> temporary file (bodies) -> windows (desk) -> writer

Needs the extra `serve`.
"""

from sonopsis.serve.app import create_app
from sonopsis.serve.settings import Settings

__all__ = ["Settings", "create_app"]
