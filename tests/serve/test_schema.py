"""Requests that schemathesis makes from the description of the API, valid and invalid ones: no answer is an error 5xx.

Bodies are recordings, damaged recordings and other bytes, because bytes at random never decode.
"""

import io
from collections import Counter
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

schemathesis = pytest.importorskip("schemathesis", reason="the extra dev is not installed")
from schemathesis.checks import not_a_server_error  # noqa: E402
from schemathesis.specs.openapi.checks import content_type_conformance, status_code_conformance  # noqa: E402

EXAMPLES = 25  # of each operation and mode
VALID, INVALID = schemathesis.GenerationMode
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance]
READ = ["GET /healthz", "GET /metrics", "GET /v1/model"]
SENT = [
    "POST /v1/ask",
    "POST /v1/caption",
    "POST /v1/convert",
    "POST /v1/events",
    "POST /v1/patches",
    "POST /v1/tag",
]


def recordings() -> st.SearchStrategy[bytes]:
    """Half a second of noise as WAV, FLAC or OGG; whole, cut off or with a byte changed; or any bytes."""
    noise = 0.1 * np.random.default_rng(0).standard_normal(8_000)
    whole = []
    for kind in ("WAV", "FLAC", "OGG"):
        stream = io.BytesIO()
        soundfile.write(stream, noise, 16_000, format=kind)
        whole.append(stream.getvalue())
    files = st.sampled_from(whole)
    cut = st.tuples(files, st.integers(0, 1000)).map(lambda drawn: drawn[0][: drawn[1]])
    changed = st.tuples(files, st.integers(0, 200), st.integers(0, 255)).map(
        lambda drawn: drawn[0][: drawn[1]] + bytes([drawn[2]]) + drawn[0][drawn[1] + 1 :]
    )
    return st.one_of(files, cut, changed, st.binary(max_size=200))


@pytest.fixture(scope="module")
def described(answering_model: Path, running: Any) -> Iterator[Any]:
    """The description of a service with every route, whose base is the service."""
    schemathesis.openapi.format("binary", recordings())
    schemathesis.openapi.media_type("application/octet-stream", recordings())
    with running("--model", answering_model, "--workers", 2) as service:
        yield schemathesis.openapi.from_url(str(service.client.base_url.join("/openapi.json")))


def test_every_operation_is_tried(described: Any) -> None:
    found = [result.ok() for result in described.get_all_operations()]
    assert {f"{operation.method.upper()} {operation.path}" for operation in found} == {*READ, *SENT}


def test_no_reference_points_to_nothing(service: Any) -> None:
    description = service.client.get("/openapi.json").json()

    def check(part: Any) -> None:
        for value in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
            check(value)
        if isinstance(part, dict) and "$ref" in part:
            found = description
            for name in part["$ref"].removeprefix("#/").split("/"):
                found = found[name]

    check(description)


def test_what_operators_read_has_an_example(service: Any) -> None:
    paths = service.client.get("/openapi.json").json()["paths"]
    health = paths["/healthz"]["get"]["responses"]["200"]["content"]["application/json"]["example"]
    found = service.client.get("/healthz").json()
    assert shape(health) == shape(found)
    example = paths["/metrics"]["get"]["responses"]["200"]["content"]["text/plain"]["example"]
    names = [line.split()[2] for line in example.splitlines() if line.startswith("# TYPE ")]
    figures = service.client.get("/metrics").text
    assert names and all(f"\n# TYPE {name} " in figures for name in names)


def shape(value: Any) -> Any:
    """A value of JSON with its types in place of what it says."""
    return {name: shape(part) for name, part in value.items()} if isinstance(value, dict) else type(value)


def test_health_can_be_asked_without_a_body(service: Any) -> None:
    answer = service.client.head("/healthz")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.slow
@pytest.mark.parametrize(("operation", "mode"), [*((one, VALID) for one in READ), *product(SENT, (VALID, INVALID))])
def test_no_request_is_an_error_of_the_service(described: Any, operation: str, mode: Any) -> None:
    method, path = operation.split()
    statuses: Counter[int] = Counter()

    @given(case=described[path][method].as_strategy(generation_mode=mode))
    @settings(max_examples=EXAMPLES, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    def send(case: Any) -> None:
        answer = case.call(timeout=300)
        statuses[answer.status_code] += 1
        case.validate_response(answer, checks=CHECKS)

    send()
    print(operation, mode, statuses)
    assert set(statuses) & ({200} if mode == VALID else {404, 405, 422}), statuses
