"""Fail where a package is installed that breaks the others, or where torch is not the version the tests were run with.

torchvision and torchaudio are published for one build of torch each. Beside another build they cannot be loaded, and
transformers, PEFT and others, which look for them, then fail at import too. timm installs torchvision.

    python scripts/check_environment.py
"""

import re
import sys
from importlib import metadata
from pathlib import Path

CONSTRAINTS = Path(__file__).parent.parent / "constraints.txt"
UNWANTED = {
    "torchvision": "beside a CPU build of torch it breaks the import of transformers, which looks for it",
    "torchaudio": "beside a CPU build of torch it cannot be loaded, and sonopsis.audio needs no part of it",
    "timm": "it installs torchvision; sonopsis.encoder has the vision transformer",
}


def installed(package: str) -> str | None:
    """The version of an installed package, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def problems(wanted_torch: str) -> list[str]:
    """What is wrong with this environment, a line each with the way out."""
    found = [
        f"{package} {version} is installed: {why}; remove it with: pip uninstall {package}"
        for package, why in UNWANTED.items()
        if (version := installed(package)) is not None
    ]
    torch = installed("torch")
    if torch is None:
        found.append(f"torch is not installed; install it with: pip install torch=={wanted_torch}")
    elif torch.split("+")[0] != wanted_torch:  # what follows the + names the build, for CPU or GPU
        found.append(
            f"torch {torch} is installed, but constraints.txt pins {wanted_torch}, which tolerances were checked with; "
            f"install it with: pip install torch=={wanted_torch}"
        )
    return found


def pinned_torch() -> str:
    """The one version of torch in constraints.txt."""
    (version,) = re.findall(r"^torch==(\S+)$", CONSTRAINTS.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return version


def main() -> int:
    """Print every problem to standard error; the exit status is 1 if there is one."""
    found = problems(pinned_torch())
    for line in found:
        print(f"error: {line}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
