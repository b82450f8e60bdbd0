"""Metrics of captions that others compute: METEOR and SPICE (Java), SPIDEr (with our CIDEr-D), and FENSE.

Where one cannot run, its figure is one line that says what is missing. Nothing is downloaded.
"""

import shutil
import subprocess
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sonopsis.metrics.captioning import tokenize

PACKAGE = "pycocoevalcap"
SPICE_LIBRARIES = ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar")


class Missing(ValueError):
    """A metric cannot run; the message is one line that says what it needs."""


def score_elsewhere(
    captions: Sequence[str], references: Sequence[Sequence[str]], cider_d: float
) -> dict[str, float | str]:
    """The values "meteor", "spice", "spider" and "fense" of one caption for each clip, or what is missing for them.

    SPIDEr is the mean of SPICE, 0-1, and CIDEr-D."""
    found: dict[str, float | str] = {}
    for name, compute in (("meteor", meteor), ("spice", spice), ("fense", fense)):
        found[name] = _value(compute, captions, references)
    spice_value = found["spice"]
    found["spider"] = (spice_value + cider_d) / 2 if isinstance(spice_value, float) else spice_value
    return {name: found[name] for name in ("meteor", "spice", "spider", "fense")}


def meteor(captions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """METEOR 1.5 of the corpus, by the program in pycocoevalcap; Missing when it or Java is not there."""
    _package_folder()
    from pycocoevalcap.meteor.meteor import Meteor

    program = Meteor()
    try:
        value, _ = program.compute_score(*_words(captions, references))
    finally:
        program.meteor_p.kill()
        program.meteor_p.wait()
        for stream in (program.meteor_p.stdin, program.meteor_p.stdout, program.meteor_p.stderr):
            stream.close()
    return float(value)


def spice(captions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """SPICE of the corpus, by the program in pycocoevalcap; Missing when it, Java or its libraries are not there."""
    folder = _package_folder() / "spice"
    if missing := [name for name in SPICE_LIBRARIES if not (folder / "lib" / name).is_file()]:
        raise Missing(f"not computed: SPICE needs {' and '.join(missing)} of Stanford CoreNLP in {folder / 'lib'}")
    from pycocoevalcap.spice.spice import Spice

    value, _ = Spice().compute_score(*_words(captions, references))
    return float(value)


def fense(captions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """FENSE of the corpus (arXiv 2110.04684), by aac-metrics; Missing when it or its models are not there."""
    if find_spec("aac_metrics") is None:
        raise Missing("not computed: FENSE needs the package aac-metrics and its models (`aac-metrics-download`)")
    from aac_metrics.functional import fense as compute

    try:
        corpus, _ = compute(list(captions), [list(others) for others in references])
    except OSError as error:  # of the models that it loads
        raise Missing(f"not computed: FENSE has no models ({' '.join(str(error).split())[:120]})") from error
    return float(corpus["fense"])


def _value(
    compute: Callable[[Sequence[str], Sequence[Sequence[str]]], float],
    captions: Sequence[str],
    references: Sequence[Sequence[str]],
) -> float | str:
    try:
        return compute(captions, references)
    except (Missing, ImportError) as error:
        return str(error)
    except (OSError, ValueError, subprocess.SubprocessError) as error:  # of the other program
        return f"not computed: {' '.join(str(error).split())[:200]}"


def _package_folder() -> Path:
    """Where pycocoevalcap is; Missing when it or Java is not installed."""
    found = find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise Missing(f"not computed: install it with: pip install {PACKAGE}")
    if shutil.which("java") is None:
        raise Missing("not computed: it needs Java; install a Java runtime (Debian: default-jre-headless)")
    return Path(found.submodule_search_locations[0])


def _words(captions: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[dict[int, Any], dict[int, Any]]:
    """References and captions as pycocoevalcap takes them: words with spaces between them."""
    theirs = {i: [" ".join(tokenize(other)) for other in others] for i, others in enumerate(references)}
    return theirs, {i: [" ".join(tokenize(caption))] for i, caption in enumerate(captions)}
