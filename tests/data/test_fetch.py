"""Downloads from a server on this machine: continued, verified, missing, replaced, and through the real apt and pip."""

import hashlib
import importlib.util
import io
import json
import lzma
import os
import shutil
import subprocess
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sonopsis.data import fetch as module
from sonopsis.data.catalogue import DataError, Source
from sonopsis.data.fetch import default_root, fetch, fetch_sources

NOISE = (
    b"".join(hashlib.sha256(bytes([n])).digest() for n in range(250)) * 40
)  # 320 kB that xz cannot shrink to nothing


class Server(ThreadingHTTPServer):
    """Serves `files` by path, with ranges; `cuts` are the sizes after which its next answers break off."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.cuts: list[int] = []
        self.ranges = True
        self.asked: list[tuple[str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers["Range"]
        self.server.asked.append((self.path, wanted))
        content = self.server.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.server.ranges else 0
        if start >= len(content) > 0:
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        cut = self.server.cuts.pop(0) if self.server.cuts else len(content)
        self.wfile.write(content[start : start + cut])

    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def package(name: str, content: bytes) -> bytes:
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        info = tarfile.TarInfo(f"./usr/share/{name}/a.wav")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    data = lzma.compress(tar.getvalue(), preset=0)
    head = f"{'data.tar.xz':<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n"
    return b"!<arch>\n" + head.encode() + data + b"\n" * (len(data) % 2)


def describe(name: str, version: str, data: bytes, **changes) -> Source:
    sha256 = hashlib.sha256(data).hexdigest()
    pool = f"pool/main/d/{name}/{name}_{version.split(':')[-1]}_all.deb"
    source = Source(name, version, sha256, len(data), "CC0-1.0", "train", "tiny", "deb", f"usr/share/{name}", pool)
    return replace(source, **changes)


@pytest.fixture
def demo(server: Server) -> Source:
    data = package("demo-data", NOISE)
    source = describe("demo-data", "2:1.0-1", data)
    server.files["/" + source.pool] = data
    return source


def test_from_a_mirror_then_kept(server, demo, tmp_path):
    seen: list[tuple[int, int]] = []

    def progress(_source: Source, done: int, total: int) -> None:
        seen.append((done, total))

    (first,) = fetch_sources([demo], tmp_path, mirror=server.url + "/", progress=progress)
    assert (first.state, first.audio, first.error) == ("new", 1, None)
    assert (tmp_path / "audio/demo-data/a.wav").read_bytes() == NOISE
    assert (tmp_path / "downloads/demo-data_2%3a1.0-1_all.deb").read_bytes() == server.files["/" + demo.pool]
    assert seen[0] == (0, demo.size) and seen[-1] == (demo.size, demo.size)
    (second,) = fetch_sources([demo], tmp_path, mirror=server.url)
    assert (second.state, second.audio, len(server.asked)) == ("kept", 1, 1)


def test_a_verified_download_is_not_fetched_again(server, demo, tmp_path):
    fetch_sources([demo], tmp_path, mirror=server.url)
    shutil.rmtree(tmp_path / "audio")
    (again,) = fetch_sources([demo], tmp_path, mirror=server.url)
    assert (again.state, len(server.asked)) == ("new", 1)


def test_broken_connections_are_continued(server, demo, tmp_path):
    server.cuts = [1000, 2000]
    (done,) = fetch_sources([demo], tmp_path, mirror=server.url)
    assert done.state == "new"
    assert [wanted for _, wanted in server.asked] == [None, "bytes=1000-", "bytes=3000-"]


def test_a_later_run_continues_the_part_file(server, demo, tmp_path):
    server.cuts = [1000, 1000, 1000]
    (failed,) = fetch_sources([demo], tmp_path, mirror=server.url)
    assert failed.state == "failed" and f"after 3000 of {demo.size} bytes" in failed.error
    (done,) = fetch_sources([demo], tmp_path, mirror=server.url)
    assert done.state == "new" and server.asked[-1][1] == "bytes=3000-"


def test_a_server_without_ranges_starts_over(server, demo, tmp_path):
    server.cuts, server.ranges = [1000], False
    (done,) = fetch_sources([demo], tmp_path, mirror=server.url)
    assert done.state == "new"
    assert (tmp_path / "audio/demo-data/a.wav").read_bytes() == NOISE


def test_a_wrong_part_file_is_replaced(server, demo, tmp_path):
    (tmp_path / "downloads").mkdir()
    part = tmp_path / "downloads" / (demo.filename + ".part")
    part.write_bytes(b"something else")
    (done,) = fetch_sources([demo], tmp_path, mirror=server.url)
    assert done.state == "new" and not part.exists()


def test_another_file_under_the_name_is_refused(server, demo, tmp_path):
    data = bytearray(server.files["/" + demo.pool])
    data[-5] ^= 1
    server.files["/" + demo.pool] = bytes(data)
    (failed,) = fetch_sources([demo], tmp_path, mirror=server.url)
    assert failed.state == "failed" and "SHA-256" in failed.error
    assert not list((tmp_path / "downloads").iterdir()) and not (tmp_path / "audio").exists()


def test_a_longer_file_is_not_read_to_its_end(server, demo, tmp_path):
    server.files["/" + demo.pool] += bytes(50 << 20)
    seen: list[int] = []
    (failed,) = fetch_sources([demo], tmp_path, mirror=server.url, progress=lambda _s, done, _t: seen.append(done))
    assert "SHA-256" in failed.error and len(seen) <= 3
    assert not list((tmp_path / "downloads").iterdir())


def test_one_missing_package_does_not_stop_the_others(server, demo, tmp_path):
    missing = describe("other-data", "3.0-1", b"never served")
    first, second = fetch_sources([missing, demo], tmp_path, mirror=server.url, allow_newer=True)
    assert first.state == "failed" and "\n" not in first.error
    assert first.error.startswith("other-data: the pinned version 3.0-1 is gone")
    assert second.state == "new"


def test_a_file_mirror(demo, server, tmp_path):
    path = tmp_path / "mirror" / demo.pool
    path.parent.mkdir(parents=True)
    path.write_bytes(server.files["/" + demo.pool])
    missing = describe("other-data", "3.0-1", b"never there")
    first, second = fetch_sources([demo, missing], tmp_path / "root", mirror=(tmp_path / "mirror").as_uri())
    assert first.state == "new"
    assert "the pinned version 3.0-1 is gone" in second.error


def test_wrong_requests(tmp_path):
    with pytest.raises(DataError, match="unknown profile"):
        fetch("huge", tmp_path)
    with pytest.raises(DataError, match="http, https or file"):
        fetch("tiny", tmp_path, mirror="/srv/mirror")


def test_without_apt_the_message_names_the_way_out(demo, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    (failed,) = fetch_sources([demo], tmp_path)
    assert "--mirror URL" in failed.error


def test_too_little_disk(server, demo, tmp_path):
    (failed,) = fetch_sources([replace(demo, size=1 << 60)], tmp_path, mirror=server.url)
    assert "MiB of disk" in failed.error and not server.asked


def test_default_root(monkeypatch, tmp_path):
    monkeypatch.setenv("SONOPSIS_DATA", str(tmp_path))
    assert default_root() == tmp_path
    monkeypatch.delenv("SONOPSIS_DATA")
    assert default_root() == Path.home() / ".cache/sonopsis"


@pytest.fixture
def apt(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """The real apt with a state of its own, whose only repository is the server; called to announce packages."""
    if shutil.which("apt-get") is None:
        pytest.skip("needs apt-get")
    state = tmp_path / "apt"
    for folder in ("state/lists/partial", "cache/archives/partial", "etc/preferences.d", "etc/apt.conf.d"):
        (state / folder).mkdir(parents=True)
    (state / "state/status").touch()
    (state / "etc/sources.list").write_text(f"deb [trusted=yes] {server.url} ./\n")
    settings = {
        "Dir::State": state / "state",
        "Dir::State::status": state / "state/status",
        "Dir::Cache": state / "cache",
        "Dir::Etc": state / "etc",
        "APT::Sandbox::User": "",
        "Acquire::Languages": "none",
        "Acquire::http::Proxy": "DIRECT",
    }
    config = state / "apt.conf"
    config.write_text("".join(f'{name} "{value}";\n' for name, value in settings.items()))
    monkeypatch.setenv("APT_CONFIG", str(config))

    def announce(*sources: Source) -> None:
        text = "\n".join(
            f"Package: {s.package}\nVersion: {s.version}\nArchitecture: all\nMaintainer: a <a@b>\nDescription: d\n"
            f"Filename: {s.pool}\nSize: {s.size}\nSHA256: {s.sha256}\n"
            for s in sources
        )
        server.files["/./Packages"] = text.encode()
        (tmp_path / "Packages").write_text(text)
        done = subprocess.run(["apt-get", "update", "-qq"], check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    yield announce


def test_addresses_from_apt(apt, server, demo, tmp_path):
    apt(demo)
    (done,) = fetch_sources([demo], tmp_path / "root")
    assert (done.state, done.version, done.error) == ("new", "2:1.0-1", None)
    assert not (tmp_path / "root/lock.json").exists()


def test_a_newer_version_only_when_allowed_and_then_remembered(apt, server, demo, tmp_path):
    data = package("demo-data", NOISE[::-1])
    newer = describe("demo-data", "2:1.1-1", data)
    server.files["/" + newer.pool] = data
    apt(newer)
    (refused,) = fetch_sources([demo], tmp_path / "root")
    assert refused.state == "failed" and "\n" not in refused.error
    assert "the pinned version 2:1.0-1 is gone" in refused.error and "apt has 2:1.1-1" in refused.error
    (done,) = fetch_sources([demo], tmp_path / "root", allow_newer=True)
    assert (done.state, done.version, done.error) == ("new", "2:1.1-1", None)
    assert (tmp_path / "root/audio/demo-data/a.wav").read_bytes() == NOISE[::-1]
    lock = json.loads((tmp_path / "root/lock.json").read_text())["demo-data"]
    assert (lock["version"], lock["sha256"], lock["pool"]) == (newer.version, newer.sha256, newer.pool)
    (kept,) = fetch_sources([demo], tmp_path / "root")
    assert (kept.state, kept.version) == ("kept", "2:1.1-1")
    (other,) = fetch_sources([replace(demo, sha256="0" * 64)], tmp_path / "root")  # a new pin ends the lock
    assert other.state == "failed"


def test_apt_knows_nothing_or_its_list_is_old(apt, server, demo, tmp_path):
    apt(describe("unrelated", "1", b""))
    (unknown,) = fetch_sources([demo], tmp_path / "root", allow_newer=True)
    assert "apt has no other" in unknown.error
    apt(demo)
    del server.files["/" + demo.pool]
    (stale,) = fetch_sources([demo], tmp_path / "root", allow_newer=True)
    assert "although apt lists it; run `apt-get update`" in stale.error


def test_a_transport_that_only_apt_speaks(apt, demo, server, tmp_path):
    (tmp_path / demo.pool).parent.mkdir(parents=True)
    (tmp_path / demo.pool).write_bytes(server.files["/" + demo.pool])
    (tmp_path / "apt/etc/sources.list").write_text(f"deb [trusted=yes] copy:{tmp_path} ./\n")
    apt(demo)
    (done,) = fetch_sources([demo], tmp_path / "root")
    assert (done.state, done.error) == ("new", None)
    assert not server.asked


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    """A wheel that the real pip finds in a folder, and nowhere else."""
    if importlib.util.find_spec("pip") is None:
        pytest.skip("needs pip")
    links = tmp_path / "links"
    links.mkdir()
    path = links / "demo_sounds-1.0-py3-none-any.whl"
    info = "demo_sounds-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("demo_sounds/cat.mp3", b"ID3")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: demo-sounds\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    monkeypatch.setenv("PIP_DISABLE_PIP_VERSION_CHECK", "1")
    data = path.read_bytes()
    return describe("demo-sounds", "1.0", data, reader="wheel", base="demo_sounds", pool="")


def test_a_wheel_through_pip(wheel, tmp_path):
    (done,) = fetch_sources([wheel], tmp_path / "root")
    assert (done.state, done.audio, done.error) == ("new", 1, None)
    assert [path.name for path in (tmp_path / "root/downloads").iterdir()] == [wheel.filename]


def test_a_wheel_with_another_hash(wheel, tmp_path):
    (wrong,) = fetch_sources([replace(wheel, sha256="0" * 64)], tmp_path / "root")
    assert "SHA-256" in wrong.error and not list((tmp_path / "root/downloads").iterdir())


def test_a_wheel_that_is_gone(wheel, tmp_path):
    gone = replace(wheel, version="0.9")
    (refused,) = fetch_sources([gone], tmp_path / "root")
    assert "the pinned version 0.9 is gone" in refused.error and "--allow-newer" in refused.error
    (done,) = fetch_sources([gone], tmp_path / "root", allow_newer=True)
    assert (done.state, done.version, done.error) == ("new", "1.0", None)


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_damaged_lock(server, demo, tmp_path, text):
    (tmp_path / "lock.json").write_text(text)
    (failed,) = fetch_sources([demo], tmp_path, mirror=server.url)
    assert "delete it and fetch again" in failed.error


def test_the_module_names_no_host():
    assert "://" not in Path(module.__file__).read_text(encoding="utf-8")
