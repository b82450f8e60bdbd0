"""Malformed uploads against a running service: does it answer each, stay up, and leave nothing behind?

    sonopsis serve --port 8000 &
    python benchmarks/serve_malformed.py http://127.0.0.1:8000 --requests 10000 examples/*

Each upload is a recording or a form with random damage, the same ones in every run. Prints the answers by status, the
memory of the service (from /metrics) after a tenth of them and at the end, and its open files. Exit status 1 if a
request got no answer, an answer was no typed error, or the service is gone. Needs httpx2 (from huggingface-hub).
"""

import argparse
import random
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROUTES = ("tag", "caption", "events")
EXPECTED = {200, 400, 413, 415, 422}
LONGEST = 200_000  # bytes of a recording that are used


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


def upload(recordings: Sequence[bytes], number: int) -> dict[str, Any]:
    """The keyword arguments of the request with this number: a raw body, or a form that may itself be damaged."""
    chance = random.Random(number)
    content = damaged(chance.choice(recordings), chance)
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
    arguments = parser.parse_args()
    import httpx2

    recordings = [path.read_bytes()[:LONGEST] for path in arguments.recordings]
    statuses: Counter[int] = Counter()
    problems, early = list[str](), 0.0
    with httpx2.Client(base_url=arguments.address, timeout=600) as client:
        for number in range(arguments.requests):
            route = f"/v1/{ROUTES[number % len(ROUTES)]}"
            try:
                answer = client.post(route, **upload(recordings, number))
            except httpx2.HTTPError as error:
                problems.append(f"request {number}: no answer: {error!r}")
                continue
            statuses[answer.status_code] += 1
            if wrong := problem(answer):
                problems.append(f"request {number}: {wrong}")
            if number == arguments.requests // 10:  # what is loaded once has been loaded
                early = figure(client, "process_resident_memory_bytes")
        late = figure(client, "process_resident_memory_bytes")
        print(f"answers by status: {dict(sorted(statuses.items()))}")
        print(f"resident memory: {early / 2**20:.0f} MiB after a tenth, {late / 2**20:.0f} MiB at the end")
        taken = client.get("/healthz").json()["places"]["taken"]
        print(f"open files: {figure(client, 'process_open_fds'):.0f}, places taken: {taken}")
    print(*problems, sep="\n")
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
