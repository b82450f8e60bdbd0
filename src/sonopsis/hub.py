"""Models by name: `owner/name` on the Hugging Face hub -> a folder in the local cache, with what a model needs of it.

The client is the hub's own (extra `hub`), and so are its settings: HF_HOME, HF_ENDPOINT, HF_HUB_OFFLINE, HF_TOKEN.
"""

import logging
import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from glob import escape
from pathlib import Path

from sonopsis.files import CARD, CONFIG, CONVERTED, FRONT_END, PICKLE, TOKENIZER, WEIGHTS, ModelError
from sonopsis.folder import DEFAULT_MODEL
from sonopsis.graphs.names import GRAPHS, STAMP

log = logging.getLogger(__name__)

ID = re.compile(r"(?P<id>\w[\w.-]*/\w[\w.-]*)(@(?P<revision>[\w./-]+))?")
COMMIT = re.compile(r"[0-9a-f]{40}")
FILE_SUFFIXES = (".bin", ".ckpt", ".pt", ".pth", ".safetensors")  # a name that ends so is a missing file
SINGLE_FILES = (".pth", ".pt")
DESCRIPTION = (CONFIG, FRONT_END, TOKENIZER, CARD, STAMP, *GRAPHS)


def locate(model: str | os.PathLike[str]) -> Path:
    """Where a model is on this machine: `"default"` is in the package, paths stay as they are, hub ids are fetched.

    A hub id is a string `owner/name` or `owner/name@revision` (branch, tag or commit) that is no path here. Raises
    ModelError, in one line, when it cannot be fetched.
    """
    if str(model) == "default":
        return DEFAULT_MODEL
    found = ID.fullmatch(model) if isinstance(model, str) else None
    if found is None or Path(model).exists() or str(model).endswith(FILE_SUFFIXES):
        return Path(model)
    return fetch(found["id"], found["revision"])


def fetch(name: str, revision: str | None = None) -> Path:
    """Fetch what a model needs of a hub repository into the cache: its folder, or its only file if it is just that.

    The weights come last: a folder of the cache that has them is whole, whatever interrupted an earlier fetch. When
    the hub cannot be reached, an earlier copy is used. Raises ModelError, in one line.
    """
    shown = name if revision is None else f"{name}@{revision}"
    missing = f"{shown}: no such model folder or file"
    try:
        from huggingface_hub import constants
    except ModuleNotFoundError:
        raise ModelError(f'{missing}; to fetch it from the Hugging Face hub: pip install "sonopsis[hub]"') from None
    kept = _cached(Path(constants.HF_HUB_CACHE), name, revision or constants.DEFAULT_REVISION)
    if kept is not None and (constants.HF_HUB_OFFLINE or COMMIT.fullmatch(revision or "")):
        return kept
    if constants.HF_HUB_OFFLINE:
        raise ModelError(f"{missing}, and not in the hub's cache; it is not fetched because HF_HUB_OFFLINE is set")
    try:
        return _download(name, revision)
    except ModelError:
        raise
    except Exception as error:  # of the client, of its HTTP library, of the system
        if kept is None or _answered(error):
            raise ModelError(f"{shown}: {_reason(error)}") from error
        log.warning("%s: the hub cannot be reached (%s); using the copy in the cache", shown, _one_line(error))
        return kept


def choose(name: str, files: Iterable[str]) -> tuple[list[str], str]:
    """Of a repository's files, those that describe its model, and the one that holds its weights.

    Safe tensors before pickled ones, and these before CTranslate2's; a file of a training program (.pth, .pt) only when
    it is alone. Raises ModelError when there are no weights, or several such files.
    """
    names = sorted(files)
    description = [file for file in names if any(fnmatch(file, pattern) for pattern in DESCRIPTION)]
    for weights in (WEIGHTS, PICKLE, CONVERTED):
        if weights in names:
            return description, weights
    single = [file for file in names if file.endswith(SINGLE_FILES)]
    if len(single) == 1:
        return description, single[0]
    if single:
        raise ModelError(f"{name}: it has several checkpoints ({', '.join(single)}); download one and give its path")
    raise ModelError(f"{name}: no weights are there (neither {WEIGHTS}, {PICKLE}, {CONVERTED}, *.pth nor *.pt)")


def _download(name: str, revision: str | None) -> Path:
    from huggingface_hub import HfApi, snapshot_download

    with _progress_on_terminals():
        listing = HfApi().model_info(name, revision=revision).siblings or []
        description, weights = choose(name, [file.rfilename for file in listing])
        folder = snapshot_download(name, revision=revision, allow_patterns=description or [CONFIG])
        # Of the same commit: a branch may have moved on since.
        folder = snapshot_download(name, revision=Path(folder).name, allow_patterns=[escape(weights)])
    return _model(Path(folder), Path(folder, weights))


def _cached(cache: Path, name: str, revision: str) -> Path | None:
    """The model of a whole snapshot in the cache, which has branches and tags as files that name a commit."""
    repository = cache / f"models--{name.replace('/', '--')}"
    reference = repository / "refs" / revision
    commit = reference.read_text().strip() if reference.is_file() else revision
    folder = repository / "snapshots" / commit
    files = [file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()]
    try:
        _, weights = choose(name, files)
    except ModelError:
        return None
    return _model(folder, folder / weights)


def _model(folder: Path, weights: Path) -> Path:
    """What to load: a folder, or the file of a training program."""
    return weights if weights.name.endswith(SINGLE_FILES) else folder


@contextmanager
def _progress_on_terminals() -> Iterator[None]:
    """The client's progress bars only where somebody sees them; a setting of the user's own is left alone."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if sys.stderr.isatty() or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


def _answered(error: Exception) -> bool:
    """Whether the hub answered with a refusal; then do not fall back to the cache."""
    from huggingface_hub.errors import HfHubHTTPError

    return isinstance(error, HfHubHTTPError) and error.response.status_code in (401, 403, 404)


def _reason(error: Exception) -> str:
    """Why a model could not be fetched, and what to do about it, for the end of one line."""
    from huggingface_hub import errors

    access = "log in with `hf auth login` or set HF_TOKEN"
    if isinstance(error, errors.GatedRepoError):
        return f"this model is gated; accept its terms on its page, then {access}"
    if isinstance(error, errors.RevisionNotFoundError):
        return "the model has no such revision (branch, tag or commit)"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"no such model, neither as a folder here nor on the hub; if it is private, {access}"
    if isinstance(error, errors.HFValidationError):
        return f"no such model folder, and no name the hub could have ({_one_line(error)})"
    if isinstance(error, errors.HfHubHTTPError) and error.response.status_code in (401, 403):
        return f"the hub refuses access ({error.response.status_code}); {access}"
    return f"it could not be fetched from the hub ({_one_line(error)}); check the network and try again"


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
