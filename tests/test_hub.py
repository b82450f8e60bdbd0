"""Models by hub id: the hub's own client, in processes of its own, against a local server that speaks its protocol.

The real hub is not reached: what only it does (its storage back ends, its rate limits) is not tested here.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from subprocess import PIPE
from threading import Thread
from typing import Any

import numpy as np
import pytest
import torch

import sonopsis
from sonopsis.files import ModelError
from sonopsis.folder import DEFAULT_MODEL, hub_id
from sonopsis.hub import choose, locate

pytest.importorskip("huggingface_hub")
transformers = pytest.importorskip("transformers")

NAMES = ["Speech", "Dog", "Water"]
CLIENT = """
import json, logging, sys
from sonopsis.files import ModelError
from sonopsis.hub import locate
logged = []
class Kept(logging.Handler):
    def emit(self, record):
        logged.append(record.getMessage())
logging.getLogger("sonopsis").addHandler(Kept())
for line in sys.stdin:
    logged.clear()
    try:
        answer = {"path": str(locate(line.strip()))}
    except ModelError as error:
        answer = {"error": str(error)}
    print(json.dumps({**answer, "log": " ".join(logged)}), flush=True)
assert "torch" not in sys.modules
"""


LARGE = 10_000  # bytes from which a file is stored apart: its address redirects to another, its ETag is a SHA-256


class Hub(ThreadingHTTPServer):
    """Repositories as folders: `repositories[name][revision]`; what was asked for is in `asked`."""

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.repositories: dict[str, dict[str, Path]] = {}
        self.private: set[str] = set()  # these need the token "secret"
        self.gated: set[str] = set()  # these are refused to everybody
        self.breaks: set[str] = set()  # names of files whose next transfer breaks in the middle
        self.broken: set[str] = set()  # names of files that cannot be read (500), but were listed
        self.asked: list[tuple[str, str, str | None]] = []  # method, path, Range

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def storage(self) -> str:
        """Where large files are: by another host name, so that the client does not take it for the hub itself."""
        return f"http://localhost:{self.server_address[1]}"


@contextmanager
def running(port: int = 0) -> Iterator[Hub]:
    """A hub that answers until the end of the block."""
    with Hub(port) as hub:
        Thread(target=hub.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield hub
        finally:
            hub.shutdown()


def commit_of(folder: Path) -> str:
    """What stands for the commit of a folder's content."""
    return hashlib.sha1(str(folder).encode()).hexdigest()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        self.server.asked.append((self.command, path, self.headers.get("Range")))
        if path.startswith("/stored/"):
            return self.content(Path("/" + path.removeprefix("/stored/")), {})
        api = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+))?", path)
        file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        found = api or file
        if found is None:
            return self.refuse(404, "EntryNotFound")
        name, revision = found[1], (api[3] if api else file[2]) or "main"  # type: ignore[index]
        revisions = self.server.repositories.get(name)
        if revisions is None:
            return self.refuse(404, "RepoNotFound")
        if name in self.server.private and self.headers.get("Authorization") != "Bearer secret":
            return self.refuse(401, "RepoNotFound")
        by_commit = {commit_of(folder): folder for folder in revisions.values()}
        folder = revisions.get(revision) or by_commit.get(revision)
        if folder is None:
            return self.refuse(404, "RevisionNotFound")
        if api:
            return self.listing(name, folder, tree=api[2] == "tree")
        if name in self.server.gated:
            return self.refuse(403, "GatedRepo")
        return self.file(folder, file[3])  # type: ignore[index]

    def listing(self, name: str, folder: Path, *, tree: bool) -> None:
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        names = [file.relative_to(folder).as_posix() for file in files]
        answer: Any = {"id": name, "sha": commit_of(folder), "siblings": [{"rfilename": each} for each in names]}
        if tree:
            answer = []
            for each, path in zip(names, files, strict=True):
                entry: dict[str, Any] = {"type": "file", "path": each, "size": path.stat().st_size}
                entry["oid"] = hashlib.sha1(path.read_bytes()).hexdigest()
                if entry["size"] >= LARGE:
                    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
                    entry["lfs"] = {"oid": sha256, "size": entry["size"], "pointerSize": 130}
                answer.append(entry)
        content = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def file(self, folder: Path, name: str) -> None:
        path = folder / name
        if not path.is_file():
            return self.refuse(404, "EntryNotFound")
        content = path.read_bytes()
        headers = {"X-Repo-Commit": commit_of(folder)}
        if len(content) < LARGE:
            return self.content(path, headers | {"ETag": f'"{hashlib.sha1(content).hexdigest()}"'})
        headers["X-Linked-Etag"] = f'"{hashlib.sha256(content).hexdigest()}"'
        headers |= {"X-Linked-Size": str(len(content)), "Location": f"{self.server.storage}/stored{path}"}
        self.send_response(302)
        for field, value in (headers | {"Content-Length": "0"}).items():
            self.send_header(field, value)
        self.end_headers()

    def content(self, path: Path, headers: dict[str, str]) -> None:
        if self.command == "GET" and path.name in self.server.broken and path.name not in self.server.breaks:
            return self.refuse(500, "Broken")
        content, start = path.read_bytes(), 0
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        if wanted:
            start = int(wanted[1])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self.send_response(206 if wanted else 200)
        for field, value in (headers | {"Content-Length": str(len(content) - start)}).items():
            self.send_header(field, value)
        self.end_headers()
        if self.command == "GET" and path.name in self.server.breaks:
            self.server.breaks.remove(path.name)
            self.wfile.write(content[start : (start + len(content)) // 2])
            self.close_connection = True
        elif self.command == "GET":
            self.wfile.write(content[start:])

    def refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running() as hub:
        yield hub


Fetch = Callable[..., list[dict[str, str]]]


@pytest.fixture
def client(hub: Hub, tmp_path: Path) -> dict[str, str]:
    """The environment of a client that knows this hub alone and has an empty cache."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    settings = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_TELEMETRY": "1"}
    return kept | settings | {"HF_HUB_DISABLE_XET": "1", "PYTHONPATH": os.pathsep.join(sys.path)}


@pytest.fixture
def fetch(client: dict[str, str]) -> Iterator[Fetch]:
    """`fetch("owner/name", ..., HF_TOKEN=...)` -> for each, {"path"} or {"error"}, and what was logged as {"log"}.

    There is one process for each set of settings: the client reads them when it is imported.
    """
    processes: dict[frozenset[tuple[str, str]], subprocess.Popen[str]] = {}

    def ask(*models: str, **settings: str) -> list[dict[str, str]]:
        key = frozenset(settings.items())
        if key not in processes:
            processes[key] = subprocess.Popen(
                [sys.executable, "-c", CLIENT], env=client | settings, stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True
            )
        process, answers = processes[key], []
        for model in models:
            print(model, file=process.stdin, flush=True)
            answers.append(json.loads(process.stdout.readline()))  # type: ignore[union-attr]
        return answers

    yield ask
    for process in processes.values():
        _, errors = process.communicate(timeout=10)
        assert process.returncode == 0 and "Traceback" not in errors, errors


@pytest.fixture(scope="module")
def ast(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model of transformers with its feature extractor; beside it what must not be fetched."""
    folder = tmp_path_factory.mktemp("hub") / "ast"
    torch.manual_seed(0)
    config = transformers.ASTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_length=128,
        id2label=dict(enumerate(NAMES)),
        label2id={name: i for i, name in enumerate(NAMES)},
    )
    transformers.ASTForAudioClassification(config).eval().save_pretrained(folder)
    transformers.ASTFeatureExtractor(max_length=128, mean=-5.0, std=3.0).save_pretrained(folder)
    (folder / "README.md").write_text("# A card\n")
    (folder / "pytorch_model.bin").write_bytes(bytes(2 * LARGE))
    (folder / "training.log").write_text("not for us\n")
    return folder


def files_of(folder: str | Path) -> set[str]:
    return {file.relative_to(folder).as_posix() for file in Path(folder).rglob("*") if file.is_file()}


def test_a_published_ast_is_fetched_loaded_and_kept(ast: Path, hub: Hub, fetch: Fetch) -> None:
    hub.repositories["MIT/tiny-ast"] = {"main": ast}
    (first,) = fetch("MIT/tiny-ast")
    folder = Path(first["path"])
    assert first["log"] == ""
    assert files_of(folder) == {"config.json", "model.safetensors", "preprocessor_config.json", "README.md"}
    assert ("GET", f"/stored{ast / 'model.safetensors'}", None) in hub.asked  # through the redirect
    model, original = sonopsis.load(folder), sonopsis.load(ast)
    assert (model.name, model.labels, model.window) == ("MIT/tiny-ast", NAMES, 1.28)
    mel = model.mel(np.random.default_rng(0).standard_normal(16_000).astype(np.float32))
    assert np.array_equal(model.logits(mel), original.logits(mel))
    hub.asked.clear()
    assert fetch("MIT/tiny-ast")[0] == first
    assert not [path for method, path, _ in hub.asked if method == "GET" and "/api/" not in path]


def test_the_cache_serves_without_a_network(ast: Path, hub: Hub, fetch: Fetch) -> None:
    hub.repositories["MIT/tiny-ast"] = {"main": ast}
    (first,) = fetch("MIT/tiny-ast")
    hub.shutdown()
    hub.server_close()
    assert fetch("MIT/tiny-ast", HF_HUB_OFFLINE="1")[0] == first
    (unplugged, other) = fetch("MIT/tiny-ast", "MIT/other", ANOTHER="process")  # without an open connection
    assert unplugged["path"] == first["path"]
    assert "the hub cannot be reached" in unplugged["log"] and "copy in the cache" in unplugged["log"]
    assert other["error"].startswith("MIT/other: it could not be fetched from the hub") and "\n" not in other["error"]
    (forbidden,) = fetch("MIT/other", HF_HUB_OFFLINE="1")
    assert "not in the hub's cache" in forbidden["error"] and "HF_HUB_OFFLINE" in forbidden["error"]


def test_a_model_folder_of_ours_with_its_tokenizer(tiny_model: Path, hub: Hub, fetch: Fetch) -> None:
    hub.repositories["sonopsis/tiny"] = {"main": tiny_model}
    (found,) = fetch("sonopsis/tiny")
    assert files_of(found["path"]) == files_of(tiny_model) >= {"tokenizer.json"}
    model = sonopsis.load(found["path"])
    assert model.name == "sonopsis/tiny" and model.tokenizer is not None


def test_a_training_programs_file_is_fetched_only_when_it_is_alone(hub: Hub, fetch: Fetch, tmp_path: Path) -> None:
    folder = tmp_path / "repository"
    folder.mkdir()
    hub.repositories["org/files"] = {"main": folder}
    assert "no weights are there" in fetch("org/files")[0]["error"]
    (folder / "README.md").write_text("# A card\n")
    torch.save({"w": torch.zeros(2)}, folder / "best.pth")
    hub.repositories["org/files"] = {"v1": folder}
    (found,) = fetch("org/files@v1")
    assert found["path"].endswith("best.pth") and hub_id(Path(found["path"])) == "org/files"
    assert fetch("org/files@v1", HF_HUB_OFFLINE="1") == [found]


def test_revisions(ast: Path, tiny_model: Path, hub: Hub, fetch: Fetch) -> None:
    hub.repositories["org/model"] = {"main": ast, "v1.0": tiny_model}
    commit = commit_of(tiny_model)
    newest, tagged, exact, missing = fetch(*(f"org/model{at}" for at in ("", "@v1.0", f"@{commit}", "@v9")))
    assert Path(newest["path"]).name == commit_of(ast)
    assert Path(tagged["path"]).name == Path(exact["path"]).name == commit
    assert missing["error"] == "org/model@v9: the model has no such revision (branch, tag or commit)"
    hub.asked.clear()
    assert fetch(f"org/model@{commit}")[0]["path"] == exact["path"]
    assert hub.asked == []  # a commit never changes
    hub.repositories["org/model"]["main"] = tiny_model
    assert Path(fetch("org/model")[0]["path"]).name == commit


def test_what_is_not_there_or_not_for_everybody(ast: Path, hub: Hub, fetch: Fetch) -> None:
    hub.repositories |= {"org/private": {"main": ast}, "org/gated": {"main": ast}}
    hub.private.add("org/private")
    hub.gated.add("org/gated")
    nothing, private, gated, odd = fetch("org/nothing", "org/private", "org/gated", "org/a--b")
    assert nothing["error"].startswith("org/nothing: no such model, neither as a folder here nor on the hub")
    assert private["error"].startswith("org/private: no such model") and "HF_TOKEN" in private["error"]
    assert gated["error"].startswith("org/gated: this model is gated; accept its terms")
    assert odd["error"].startswith("org/a--b: no such model folder, and no name the hub could have")
    assert all("\n" not in found["error"] for found in (nothing, private, gated, odd))
    assert "path" in fetch("org/private", HF_TOKEN="secret")[0]


def test_a_model_that_became_private_is_not_served_from_the_cache(ast: Path, hub: Hub, fetch: Fetch) -> None:
    hub.repositories["org/model"] = {"main": ast}
    fetch("org/model")
    hub.private.add("org/model")
    assert "no such model" in fetch("org/model")[0]["error"]


def test_a_broken_transfer_leaves_nothing_that_loads_and_the_next_one_ends_it(
    ast: Path, hub: Hub, fetch: Fetch
) -> None:
    hub.repositories["org/model"] = {"main": ast}
    hub.breaks.add("model.safetensors")
    hub.broken.add("model.safetensors")
    (failed,) = fetch("org/model")
    assert failed["error"].startswith("org/model: it could not be fetched from the hub")
    assert "\n" not in failed["error"]
    assert "not in the hub's cache" in fetch("org/model", HF_HUB_OFFLINE="1")[0]["error"]
    hub.broken.clear()
    (found,) = fetch("org/model")
    assert Path(found["path"], "model.safetensors").read_bytes() == (ast / "model.safetensors").read_bytes()


def test_a_transfer_that_breaks_once_is_resumed_where_it_broke(hub: Hub, fetch: Fetch, tmp_path: Path) -> None:
    weights = tmp_path / "repository" / "model.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(np.random.default_rng(0).bytes(24 << 20))  # the client writes 10 MiB at once
    hub.repositories["org/model"] = {"main": weights.parent}
    hub.breaks.add("model.safetensors")
    (found,) = fetch("org/model")
    assert Path(found["path"], "model.safetensors").read_bytes() == weights.read_bytes()
    (resumed,) = [start for _, path, start in hub.asked if path.startswith("/stored/") and start]
    assert resumed == f"bytes={10 << 20}-"


def test_the_command_takes_a_hub_id(ast: Path, hub: Hub, client: dict[str, str]) -> None:
    hub.repositories["MIT/tiny-ast"] = {"main": ast}
    command = [sys.executable, "-m", "sonopsis", "info", "MIT/tiny-ast", "--json"]
    done = subprocess.run(command, env=client, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert (facts["name"], facts["family"], facts["labels"]) == ("MIT/tiny-ast", "ast", NAMES)
    assert done.stderr == ""


def test_without_the_client_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ModelError, match=r'^org/model@main: no such .* pip install "sonopsis\[hub\]"$'):
        locate("org/model@main")


def test_what_is_no_hub_id_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)  # so that a fetch would fail
    (tmp_path / "runs" / "best").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    for model in ("default", "runs/best", "runs/lost.pth", "/runs/lost", "./runs/lost", "../a", "a/b/c", "lost", ""):
        assert locate(model) == (DEFAULT_MODEL if model == "default" else Path(model))
    assert locate(Path("runs/lost")) == Path("runs/lost")


def test_which_files_a_model_needs() -> None:
    extra = ["config.json", "train.py", "onnx/model.onnx", "tag.onnx", "graphs.json", "flax_model.msgpack"]
    description = ["config.json", "graphs.json", "tag.onnx"]
    assert choose("a/b", [*extra, "model.safetensors", "pytorch_model.bin"]) == (description, "model.safetensors")
    assert choose("a/b", [*extra, "pytorch_model.bin", "best.pth"]) == (description, "pytorch_model.bin")
    assert choose("a/b", [*extra, "model.bin", "pytorch_model.bin"]) == (description, "pytorch_model.bin")
    assert choose("a/b", [*extra, "model.bin", "best.pth"]) == (description, "model.bin")
    assert choose("a/b", [*extra, "best.pt"]) == (description, "best.pt")
    with pytest.raises(ModelError, match=r"a/b: it has several checkpoints \(a.pth, b.pt\)"):
        choose("a/b", [*extra, "a.pth", "b.pt"])
    with pytest.raises(ModelError, match="a/b: no weights"):
        choose("a/b", extra)
