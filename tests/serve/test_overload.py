"""More requests than places: the rest is refused with 429, nothing accepted is lost, and the service goes on."""

import http.client
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

WORKERS, QUEUE = 2, 6
PLACES = WORKERS + QUEUE
QUERY = {"name": "noise.wav", "hop": 0.5}  # 12 windows


@pytest.fixture(scope="module")
def small(tiny_model: Path, running: Any) -> Iterator[Any]:
    """A service with few places."""
    with running("--model", tiny_model, "--workers", WORKERS, "--queue", QUEUE) as found:
        yield found


@pytest.fixture(scope="module")
def expected(small: Any, sounds: Path) -> list[dict[str, Any]]:
    """What the service answers when it has nothing else to do."""
    answer = small.client.post("/v1/tag", content=(sounds / "noise.wav").read_bytes(), params=QUERY)
    assert answer.status_code == 200
    return list(answer.json())


def test_twice_as_many_as_there_are_places(
    small: Any, held: Callable[..., Any], sounds: Path, expected: list[dict[str, Any]]
) -> None:
    content = (sounds / "noise.wav").read_bytes()
    with ExitStack() as stack:
        accepted = [stack.enter_context(held(small, "/v1/tag", content, **QUERY)) for _ in range(PLACES)]
        assert places(small) == {"taken": PLACES, "all": PLACES}
        with ThreadPoolExecutor(PLACES) as pool:
            sent = [pool.submit(small.client.post, "/v1/tag", content=content, params=QUERY) for _ in range(PLACES)]
            for refused in [future.result() for future in sent]:
                assert (refused.status_code, refused.json()["error"]["code"]) == (429, "overloaded")
                assert int(refused.headers["retry-after"]) >= 1
        for upload in accepted:
            upload.release()
        for upload in accepted:
            answer = upload.answer()
            assert (answer.status_code, answer.json()) == (200, expected)
    assert places(small)["taken"] == 0
    assert small.client.post("/v1/tag", content=content, params=QUERY).json() == expected
    assert small.temporary() == []


def test_a_storm_of_short_requests(small: Any, sounds: Path, expected: list[dict[str, Any]]) -> None:
    content = (sounds / "noise.wav").read_bytes()

    def send(number: int) -> Any:
        answer = small.client.post("/v1/tag", content=content, params=QUERY)
        return answer.status_code, answer.json() if answer.status_code == 200 else answer.headers["retry-after"]

    before = refusals(small)
    with ThreadPoolExecutor(2 * PLACES) as pool:
        answers = list(pool.map(send, range(10 * PLACES)))
    statuses = Counter(status for status, _ in answers)
    assert set(statuses) <= {200, 429} and statuses[200] >= PLACES
    assert all(body == expected for status, body in answers if status == 200)
    assert small.client.post("/v1/tag", content=content, params=QUERY).json() == expected
    assert places(small)["taken"] == 0 and small.temporary() == []
    assert refusals(small) - before == statuses[429]


def places(service: Any) -> Any:
    return service.client.get("/healthz").json()["places"]


def refusals(service: Any) -> int:
    """How many requests were refused, as the service counts them."""
    found = re.search(r'requests_total\{route="/v1/tag",status="429"\} (\d+)', service.client.get("/metrics").text)
    return int(found[1]) if found else 0


def test_a_client_may_come_back_on_the_connection_that_it_has(service: Any) -> None:
    connection = http.client.HTTPConnection(service.client.base_url.host, service.client.base_url.port, timeout=60)
    connection.auto_open = 0  # it must not open another one by itself
    connection.connect()
    for wait in (0, 6):  # longer than the 5 s after which uvicorn closes a connection on its own account
        time.sleep(wait)
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())["status"]) == (200, "ok")
    connection.close()
