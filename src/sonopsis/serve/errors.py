"""What the service answers when it cannot do what was asked: `{"error": {"code": ..., "message": ...}}`."""

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from sonopsis.many import error_line

_log = logging.getLogger(__name__)


class ServiceError(Exception):
    """An answer with an error: HTTP status, a code for programs, one line for people, headers."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.headers = dict(headers or {})

    def to_dict(self) -> dict[str, Any]:
        """`{"error": {"code", "message"}}`."""
        return {"error": {"code": self.code, "message": self.message}}


def install(app: FastAPI) -> None:
    """Let every error of an app be answered in this form."""
    app.add_exception_handler(ServiceError, _service_error)
    app.add_exception_handler(RequestValidationError, _bad_parameter)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _internal)


def internal(error: Exception, name: str) -> ServiceError:
    """What is answered for an error of a kind that is not expected; it is logged."""
    _log.error("%s", error_line(error, name), exc_info=error)
    return ServiceError(500, "internal", "internal error; the log of the service has the details")


def _answer(error: ServiceError) -> JSONResponse:
    return JSONResponse(error.to_dict(), error.status, error.headers)


async def _service_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ServiceError)
    return _answer(error)


async def _bad_parameter(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    found = error.errors()[0]
    place = ".".join(str(part) for part in found["loc"][1:]) or "the request"
    return _answer(ServiceError(422, "bad_parameter", f"{place}: {found['msg']}"))


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    codes = {404: "not_found", 405: "method_not_allowed"}
    code = codes.get(error.status_code, "bad_request")
    return _answer(ServiceError(error.status_code, code, str(error.detail), error.headers))


async def _internal(request: Request, error: Exception) -> JSONResponse:
    return _answer(internal(error, request.url.path))
