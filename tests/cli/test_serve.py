"""What `serve` refuses before a model is loaded."""

from collections.abc import Callable

import pytest
from click.testing import Result

Run = Callable[..., Result]


@pytest.mark.parametrize("size", ["inf", "1e303"])
def test_a_size_that_is_no_number_of_bytes_is_refused(sonopsis: Run, size: str) -> None:
    refused = sonopsis("serve", "--max-size", size, "--model", "no-such-model")
    assert refused.exit_code == 2
    assert "--max-size" in refused.stderr and "give a large number" in " ".join(refused.stderr.split())


def test_an_empty_key_is_refused_wherever_it_comes_from(sonopsis: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model is not there, so that nothing is served if the key is taken."""
    options = ("serve", "--model", "no-such-model")
    typed = sonopsis(*options, "--api-key", "")
    assert typed.exit_code == 1 and "API key" in typed.stderr
    monkeypatch.setenv("SONOPSIS_API_KEY", "")
    refused = sonopsis(*options)
    assert refused.exit_code == 1
    assert refused.stderr == (
        "error: SONOPSIS_API_KEY is empty; set it to the key, or remove it to serve without a key\n"
    )
    assert "no-such-model" in sonopsis(*options, "--api-key", "secret").stderr  # the option counts, not the variable
