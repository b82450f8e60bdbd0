"""Results as bodies of answers: a format's name, its media type, its writer."""

import io
from collections.abc import Iterable
from typing import Literal
from urllib.parse import quote

from fastapi import Response

from sonopsis.results import Part
from sonopsis.serve.bodies import Upload
from sonopsis.serve.notes import HEADER, encoded
from sonopsis.writers import WRITERS, follow

Format = Literal["json", "jsonl", "csv", "tsv", "srt", "vtt", "audacity", "raven"]

MEDIA_TYPES: dict[Format, str] = {
    "json": "application/json",
    "jsonl": "application/jsonl",
    "csv": "text/csv; charset=utf-8; header=present",
    "tsv": "text/tab-separated-values; charset=utf-8",
    "srt": "application/x-subrip; charset=utf-8",
    "vtt": "text/vtt; charset=utf-8",
    "audacity": "text/plain; charset=utf-8",
    "raven": "text/tab-separated-values; charset=utf-8",
}


def written(parts: Iterable[Part], format: Format, upload: Upload) -> Response:
    """The parts of an upload as the command line writes them in a format, under the name it would choose."""
    stream = io.StringIO()
    follow(parts, format, stream)
    file = quote(_stem(upload.name) + WRITERS[format].suffix, safe="")
    headers = {"Content-Disposition": f"inline; filename*=UTF-8''{file}"}
    answer = Response(stream.getvalue(), headers=headers, media_type=MEDIA_TYPES[format])
    for note in upload.notes:
        answer.headers.append(HEADER, encoded(note))
    return answer


def _stem(name: str) -> str:
    return name.rpartition(".")[0] or name
