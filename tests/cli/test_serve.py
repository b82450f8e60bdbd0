"""What `serve` refuses before a model is loaded."""

from collections.abc import Callable

import pytest
from click.testing import Result

Run = Callable[..., Result]


@pytest.mark.parametrize("size", ["inf", "nan", "1e303"])
def test_a_size_that_is_no_number_of_bytes_is_refused(sonopsis: Run, size: str) -> None:
    refused = sonopsis("serve", "--max-size", size, "--model", "no-such-model")
    assert refused.exit_code == 2
    assert "--max-size" in refused.stderr and "give a large number" in " ".join(refused.stderr.split())
