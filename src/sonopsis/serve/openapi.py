"""What the description of the API (GET /openapi.json) says besides the parameters: bodies, answers, examples."""

from typing import Any

from fastapi import Security
from fastapi.security import APIKeyHeader, HTTPBearer

# Of routes that want the key, in one of these forms. They only describe it: `Service.authorise` reads it.
KEY = [
    Security(HTTPBearer(auto_error=False, description="The key of the service.")),
    Security(APIKeyHeader(name="X-API-Key", auto_error=False, description="The key of the service.")),
]

ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {
                "code": {"type": "string", "description": "for programs"},
                "message": {"type": "string", "description": "one line for people, which says how to fix it"},
            },
        }
    },
}


def _error(description: str, code: str, message: str) -> dict[str, Any]:
    example = {"error": {"code": code, "message": message}}
    return {"description": description, "content": {"application/json": {"schema": ERROR, "example": example}}}


ERRORS: dict[int | str, dict[str, Any]] = {
    400: _error("The form cannot be read.", "bad_form", "the form cannot be read: it has no field 'file'"),
    401: _error("The key is missing or wrong.", "unauthorised", "send the key of this service as ..."),
    408: _error("The upload is too slow.", "upload_stalled", "the upload is too slow: 44 bytes in 300 s; ..."),
    413: _error("Too many bytes or seconds.", "too_long", "the recording lasts more than 3600 s; ..."),
    415: _error(
        "Not a recording, or a compressed body.", "not_a_recording", "notes.txt: not a recording that can be read, ..."
    ),
    422: _error("No sound in it, or a bad parameter.", "bad_parameter", "top_k: Input should be greater than ..."),
    429: _error("Too many requests; see Retry-After.", "overloaded", "all 34 places are taken; try again in 2 s"),
    500: _error("An error of the service.", "internal", "internal error; the log of the service has the details"),
    504: _error("It took too long.", "timeout", "no answer within 300 s; send a shorter recording, ..."),
}


def inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """A JSON schema with its definitions in place of references to them, which would point to nothing elsewhere."""
    definitions = schema.get("$defs", {})

    def whole(part: Any) -> Any:
        if isinstance(part, list):
            return [whole(item) for item in part]
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            return whole(definitions[part["$ref"].rpartition("/")[2]])
        return {name: whole(value) for name, value in part.items() if name != "$defs"}

    found: dict[str, Any] = whole(schema)
    return found


# Bodies are read by hand (`sonopsis.serve.bodies`), so their description is by hand too.
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
                    "additionalProperties": False,
                }
            },
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}

_COW: dict[str, Any] = {
    "start": 0.0,
    "end": 3.0,
    "status": "heard",
    "labels": [
        {
            "label": "Cattle, bovinae",
            "score": 0.98803,
            "id": "/m/01xq0k1",
            "parents": ["Animal", "Livestock, farm animals, working animals"],
        }
    ],
}
_SENTENCE = {"caption": "one can hear the moo of a cow", "score": -0.67, "confidence": 0.81}
_TABLES = {
    "text/csv": "file,start,end,label,score,id,confidence\ncow.ogg,0.000,3.000,...\n",
    "text/tab-separated-values": "file\tstart\tend\tlabel\tscore\tid\tconfidence\n...",
    "text/plain": "0.000000\t3.000000\tCattle, bovinae\n",
    "text/vtt": "WEBVTT\n\n00:00:00.000 --> 00:00:03.000\n[one can hear the moo of a cow]\n",
    "application/x-subrip": "1\n00:00:00,000 --> 00:00:03,000\n[one can hear the moo of a cow]\n",
}


def _described(window: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    file = {"path": "cow.ogg", "duration": 3.0, "model": "default"}
    content = {kind: {"schema": {"type": "string"}, "example": text} for kind, text in _TABLES.items()}
    content["application/jsonl"] = {"schema": {"type": "string"}}
    whole: Any = {"schema": {"type": "array", "items": {"type": "object"}}, "example": [{**file, "windows": [window]}]}
    return {200: {"description": "What is heard.", "content": {"application/json": whole, **content}}}


TAGS = _described(_COW)
CAPTIONS = _described(_COW | _SENTENCE)
ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "An answer to each question for each window.",
        "content": {
            "application/json": {
                "example": [
                    {"start": 0.0, "end": 3.0, "question": "is there a cow?", "text": "yes", "score": -0.1},
                ]
            }
        },
    }
}
STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Server-sent events: `window`, `event`, `warning`, and at last `end` or `error`.",
        "content": {
            "text/event-stream": {
                "schema": {"type": "string"},
                "example": 'event: window\ndata: {"start": 0.0, "end": 10.0, "status": "heard", "labels": []}\n\n'
                'event: end\ndata: {"path": "day.flac", "duration": 10.0, "model": "default", "windows": 1, '
                '"times": "axis"}\n\n',
            }
        },
    }
}
