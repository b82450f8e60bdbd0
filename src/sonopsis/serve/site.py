"""The page: every file of `page/` under its own name, and `index.html` as `/`."""

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse

FOLDER = Path(__file__).parent / "page"
INDEX = "index.html"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

# The page asks nobody but this service; recordings play from the browser's memory (blob:), and the waveform's library
# sets styles.
POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' blob: data:; media-src blob:; "
    "connect-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Cache-Control": "no-cache",  # a browser asks whether a file has changed, so that a page is never half old
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

router = APIRouter(include_in_schema=False)


def _serve(file: Path, path: str) -> None:
    kind = TYPES.get(file.suffix, "text/plain")

    @router.get(path)
    async def page() -> FileResponse:
        return FileResponse(file, media_type=kind, headers=HEADERS)


for _file in sorted(FOLDER.rglob("*.*")):
    _serve(_file, f"/{_file.relative_to(FOLDER).as_posix()}")
_serve(FOLDER / INDEX, "/")
