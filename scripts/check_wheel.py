"""Build the wheel, install it into an empty environment without torch, and use it from an empty folder; then serve.

python scripts/check_wheel.py
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parent.parent
LARGEST = 260e6  # bytes of the environment with the model
LIBRARY = """
import sonopsis
model = sonopsis.load(keep_rate=0.7)
assert model.engine.name == "onnx"
assert model.tag("cow.ogg")[0].labels and model.caption("cow.ogg")[0].text
mel = model.mel("cow.ogg")
assert model.encode(mel, keep_rate=0.5).tokens.shape[1] < model.encode(mel).tokens.shape[1]
try:
    sonopsis.prune
except ImportError as error:
    assert "sonopsis[torch]" in str(error) and isinstance(error, ValueError)
else:
    raise AssertionError("prune() without torch")
import sys
assert "torch" not in sys.modules
"""
NEED_TORCH = (
    ("tag", "cow.ogg", "--engine", "torch"),
    ("export", "default", "-o", "exported"),
    ("study", "pruning", "default", "."),
    ("train", "--from", "default", ".", "-o", "trained"),
    ("bench", "lm"),
)


def size_of(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(file.lstat().st_size for file in folder.rglob("*") if not file.is_dir())


def check_service(process: subprocess.Popen[str], folder: Path) -> None:
    """Send the recordings of a folder to a service that has just been started; raises AssertionError."""
    assert process.stderr is not None
    line = process.stderr.readline()
    found = re.search(r"http://\S+", line)
    assert found, line + process.stderr.read()

    def post(route: str, recording: Path) -> str:
        request = urllib.request.Request(
            f"{found[0]}/v1/{route}name={recording.name}", recording.read_bytes(), method="POST"
        )
        with urllib.request.urlopen(request, timeout=300) as answer:
            return str(answer.read().decode())

    with urllib.request.urlopen(f"{found[0]}/healthz", timeout=60) as answer:
        assert json.load(answer)["engine"] == "onnx"
    for recording in sorted(folder.glob("*.*")):
        for route in ("tag", "caption"):
            (result,) = json.loads(post(f"{route}?", recording))
            assert result["path"] == recording.name and result["windows"]
            assert all(("caption" in window) == (route == "caption") for window in result["windows"])
        (reply, *_) = json.loads(post("ask?question=is+there+a+cow%3F&", recording))
        assert reply["text"]
        print(f"served without torch: {recording.name}: {result['windows'][0]['caption']}; a cow? {reply['text']}")


def main() -> None:
    """Raises CalledProcessError or AssertionError at the first step that fails."""
    with tempfile.TemporaryDirectory() as scratch:
        place, empty = Path(scratch) / "environment", Path(scratch) / "empty"
        empty.mkdir()
        wheels = ["-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps", "--wheel-dir"]
        subprocess.run([sys.executable, *wheels, scratch, str(ROOT)], check=True)
        (wheel,) = Path(scratch).glob("*.whl")
        steps = ["sh", str(ROOT / "scripts" / "image.sh"), str(place), str(wheel)]
        subprocess.run(steps, check=True, env={**os.environ, "PYTHON": sys.executable})
        for name in ("cow.ogg", "horse.ogg", "lock_gate.flac"):
            shutil.copy(ROOT / "examples" / name, empty)
        plain = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

        def run(*command: str) -> subprocess.CompletedProcess[str]:
            program = [str(place / "bin" / command[0]), *command[1:]]
            return subprocess.run(program, cwd=empty, env=plain, capture_output=True, text=True)

        def output(*command: str) -> str:
            found = run(*command)
            assert found.returncode == 0, f"{command}: {found.stderr}"
            return found.stdout

        assert "Examples:" in output("sonopsis", "tag", "--help") and "caption" in output("sonopsis", "--help")
        assert "Cattle" in output("sonopsis", "tag", "cow.ogg")
        assert "cow" in output("sonopsis", "caption", "cow.ogg", "--keep-rate", "0.5", "-f", "json")
        assert "M parameters" in output("sonopsis", "info")
        assert output("sonopsis", "ask", "cow.ogg", "is there a cow?")
        output("python", "-c", LIBRARY)
        for command in NEED_TORCH:
            found = run("sonopsis", *command)
            lines = found.stderr.splitlines()
            assert found.returncode == 1 and len(lines) == 1 and "sonopsis[torch]" in lines[0], found.stderr
        size = size_of(place)
        print(f"{size / 1e6:.0f} MB installed, with the model and without pip")
        assert size < LARGEST
        pip = [sys.executable, "-m", "pip", "--python", str(place / "bin" / "python"), "install", "--quiet"]
        pins = ["--disable-pip-version-check", "-c", str(ROOT / "constraints.txt")]
        subprocess.run([*pip, *pins, f"{wheel}[serve]"], check=True)
        program = [str(place / "bin" / "sonopsis"), "serve", "--port", "0"]
        with subprocess.Popen(program, cwd=empty, env=plain, stderr=subprocess.PIPE, text=True) as process:
            try:
                check_service(process, empty)
            finally:
                process.terminate()
        assert process.returncode == 0, f"exit status {process.returncode}"
        assert run("python", "-c", "import torch").returncode == 1


if __name__ == "__main__":
    main()
