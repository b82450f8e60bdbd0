"""Graphs for models that come without any: made once on a machine, and kept in the cache.

A published checkpoint, or a folder of ours without graphs, is exported to `graphs/` in the data folder when an engine
that runs graphs is asked for by name. The copy's own folder is named by what the model's files are, so that it is made
again when they change.
"""

import hashlib
import json
import logging
import os
import tempfile
from pathlib import Path

from sonopsis.export import export
from sonopsis.folder import ModelFolder, describe
from sonopsis.graphs.names import STAMP, VERSION

_log = logging.getLogger("sonopsis")


def with_graphs(model: ModelFolder, to: str) -> ModelFolder:
    """The copy of a model that has graphs, in a form of `sonopsis.export.TARGETS`; it is made if it is not there.

    Making it needs torch for a published checkpoint, and onnx. Raises MissingPackageError for a package that is not
    there, and ModelError for a model that has no such form.
    """
    place = _cache() / f"{model.name.replace('/', '--')}-{_digest(model, to)}"
    if not (place / STAMP).is_file():
        _log.info("making graphs of %s, once, in %s", model.name, place)
        _make(model, place, to)
    return describe(place)


def _make(model: ModelFolder, place: Path, to: str) -> None:
    """Export under another name first: a folder that has its name is whole, whatever stops this process."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".making-") as scratch:
        export(model, model.state, Path(scratch) / "model", to=to)
        try:
            os.rename(Path(scratch) / "model", place)
        except OSError:  # another process was faster
            if not (place / STAMP).is_file():
                raise


def _cache() -> Path:
    from sonopsis.data.fetch import default_root

    return default_root() / "graphs"


def _digest(model: ModelFolder, to: str) -> str:
    """What tells these graphs from those of other files, of other versions of the files, and of another form."""
    files = sorted(model.path.iterdir()) if model.path.is_dir() else [model.path]
    real = [file.resolve() for file in files if file.is_file()]
    facts = [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in real]
    return hashlib.sha256(json.dumps([VERSION, to, facts]).encode()).hexdigest()[:16]
