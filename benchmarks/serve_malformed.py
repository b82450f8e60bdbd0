"""Malformed uploads against a running service: does it answer each, stay up, and leave nothing behind?

    mkdir scratch; TMPDIR=scratch sonopsis serve --port 8000 &
    python benchmarks/serve_malformed.py http://127.0.0.1:8000 --requests 10000 --temporary scratch examples/*

Each upload is a recording, a form or results in JSON with random damage, the same ones in every run, to each route that
takes one. Recordings may be of any kind that the service reads, such as M4A; of longer ones the first 200 kB are used.
Prints the answers by route and status, the memory of the service (from /metrics) after a tenth of them and at the end,
and its open files. Exit status 1 if a request got no answer, an answer was no typed error, a place is still taken, a
file is left in the folder that the service has for temporary files, or the service is gone. Needs httpx2 (from
huggingface-hub).
"""

import argparse
import random
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROUTES: dict[str, dict[str, Any]] = {
    "/v1/tag": {},
    "/v1/caption": {},
    "/v1/events": {},
    "/v1/ask": {"question": ["is there a dog?", "what is heard?"]},
    "/v1/patches": {"keep_rate": [1.0, 0.5]},
    "/v1/convert": {"format": "srt"},
}
EXPECTED = {200, 400, 413, 415, 422}
LONGEST = 200_000  # bytes of a recording that are used
RESULTS = b"""[{"path": "cow.ogg", "duration": 4.0, "model": "default", "windows": [
{"start": 0.0, "end": 2.0, "status": "heard", "labels": [{"label": "Dog", "score": 0.9}], "caption": "a dog barks"},
{"start": 2.0, "end": 4.0, "status": "unclear", "labels": [], "guess": {"label": "Cat", "score": 0.1}, "score": -0.5}
]}]"""
ODD = (b"-1", b"1e308", b"1e999", b"NaN", b"null", b"true", b"[]", b"{}", b'""', b'"\\u0000"', b'"\\ud800"', b'"../.."')


def damaged(content: bytes, random: random.Random) -> bytes:
    """A copy of a file with one kind of damage: cut, bytes overwritten, a stretch lost, doubled or filled, joined."""
    data = bytearray(content)
    place = random.randrange(len(data))
    stretch = slice(place, place + random.choice((1, 4, 64, 4096)))
    kind = random.randrange(6)
    if kind == 0:
        del data[place:]
    elif kind == 1:
        head = random.choice((64, len(data)))  # headers are short, and matter most
        for _ in range(random.choice((1, 8, 64))):
            data[random.randrange(min(head, len(data)))] = random.randrange(256)
    elif kind == 2:
        del data[stretch]
    elif kind == 3:
        data[place:place] = data[stretch]
    elif kind == 4:
        data[stretch] = bytes([random.choice((0, 255))]) * len(data[stretch])
    else:
        data += data[place:]
    return bytes(data)


def damaged_results(chance: random.Random) -> bytes:
    """Results in JSON with one kind of damage: a number or text is an odd one, or that of `damaged`."""
    if chance.random() < 0.3:
        return damaged(RESULTS, chance)
    part = chance.choice(list(re.finditer(rb'[-\d.]+|"[^"]*"', RESULTS)))
    return RESULTS[: part.start()] + chance.choice(ODD) + RESULTS[part.end() :]


def upload(route: str, recordings: Sequence[bytes], number: int) -> dict[str, Any]:
    """The keyword arguments of the request with this number: a raw body, or a form that may itself be damaged."""
    chance = random.Random(number)
    content = damaged_results(chance) if route == "/v1/convert" else damaged(chance.choice(recordings), chance)
    if chance.random() < 0.5:
        return {"content": content}
    boundary = b"b0undary"
    form = b'--%b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n' % boundary
    form += content + b"\r\n--%b--\r\n" % boundary
    if chance.random() < 0.3:
        form = damaged(form[:200], chance) + form[200:]
    return {"content": form, "headers": {"Content-Type": f"multipart/form-data; boundary={boundary.decode()}"}}


def problem(answer: Any) -> str | None:
    """What is wrong with an answer to a malformed upload, or None."""
    if answer.status_code not in EXPECTED:
        return f"status {answer.status_code}: {answer.text[:200]}"
    if answer.status_code != 200 and set(answer.json()["error"]) != {"code", "message"}:
        return f"no typed error: {answer.text[:200]}"
    if '"code": "internal"' in answer.text:  # in a stream of events
        return f"internal error: {answer.text[-200:]}"
    return None


def figure(client: Any, name: str) -> float:
    """A number of /metrics."""
    found = re.search(rf"^{name} (\S+)$", client.get("/metrics").text, re.MULTILINE)
    return float(found[1]) if found else float("nan")


def main() -> int:
    """Send the uploads and print the report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("address")
    parser.add_argument("recordings", nargs="+", type=Path)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--temporary", type=Path, metavar="FOLDER", help="the service's folder for temporary files")
    arguments = parser.parse_args()
    import httpx2

    recordings = [path.read_bytes()[:LONGEST] for path in arguments.recordings]
    statuses: Counter[tuple[str, int]] = Counter()
    problems, early = list[str](), 0.0
    with httpx2.Client(base_url=arguments.address, timeout=600) as client:
        paths = client.get("/openapi.json").json()["paths"]
        routes = [route for route in ROUTES if route in paths]
        for number in range(arguments.requests):
            route = routes[number % len(routes)]
            try:
                answer = client.post(route, params=ROUTES[route], **upload(route, recordings, number))
            except httpx2.HTTPError as error:
                problems.append(f"request {number}: no answer: {error!r}")
                continue
            statuses[route, answer.status_code] += 1
            if wrong := problem(answer):
                problems.append(f"request {number}, {route}: {wrong}")
            if number == arguments.requests // 10:  # what is loaded once has been loaded
                early = figure(client, "process_resident_memory_bytes")
        late = figure(client, "process_resident_memory_bytes")
        for route in routes:
            found = {status: count for (where, status), count in sorted(statuses.items()) if where == route}
            print(f"{route}: {found}")
        print(f"resident memory: {early / 2**20:.0f} MiB after a tenth, {late / 2**20:.0f} MiB at the end")
        taken = client.get("/healthz").json()["places"]["taken"]
        print(f"open files: {figure(client, 'process_open_fds'):.0f}, places taken: {taken}")
    problems += [f"{taken} places are still taken"] if taken else []
    if arguments.temporary is not None:
        left = sorted(arguments.temporary.rglob("sonopsis-serve-*/*"))
        print(f"temporary files: {len(left)}")
        problems += [f"{file} is left" for file in left]
    print(*problems, sep="\n")
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
