"""How many requests a second the service answers, how long they wait, and what it does with too many.

    python benchmarks/serve_load.py examples/*                       # the table of docs/service.md
    python benchmarks/serve_load.py examples/* --users 1 2 --requests 100

Starts `sonopsis serve`, then sends short recordings with locust (pip install -r benchmarks/requirements.txt): as many
at once as there are users, each user the next one when it has its answer. A line for each number of users: results a
second, p50 and p99 of the time to a result in ms, results, refusals (429), and requests that were lost: without an
answer, with an error, or with another answer than the same recording got alone. The last line is one request after
the overload. Exit status 1 if any was lost.
"""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any


def table_row(cells: list[str]) -> str:
    """A line of a table in Markdown."""
    return f"| {' | '.join(cells)} |"


def measure(address: str, route: str, files: list[Path], alone: dict[Path, str], users: int, total: int) -> list[int]:
    """Results, refusals and lost requests of so many users; the table's line is printed."""
    import gevent
    from locust import HttpUser, constant, task
    from locust.env import Environment

    counts = {"sent": 0, "results": 0, "refused": 0, "lost": 0}
    times: list[float] = []

    class Sender(HttpUser):
        host = address
        wait_time = constant(0)

        @task
        def send(self) -> None:
            if counts["sent"] >= total:
                gevent.sleep(0.1)
                return
            file = files[counts["sent"] % len(files)]
            counts["sent"] += 1
            content = {"file": (file.name, file.read_bytes())}
            with self.client.post(route, files=content, name=route, catch_response=True) as answer:
                answer.success()
                if answer.status_code == 429:
                    counts["refused"] += 1
                    gevent.sleep(float(answer.headers["Retry-After"]))
                elif answer.status_code == 200 and answer.text == alone[file]:
                    counts["results"] += 1
                    times.append(answer.elapsed.total_seconds())
                else:
                    counts["lost"] += 1
                    said = answer.error or ("another answer" if answer.status_code == 200 else answer.text[:200])
                    print(f"lost: {answer.status_code} {said}", file=sys.stderr, flush=True)

    runner = Environment(user_classes=[Sender]).create_local_runner()
    begun = gevent.get_hub().loop.now()
    runner.start(users, spawn_rate=users)
    while counts["results"] + counts["refused"] + counts["lost"] < total:
        gevent.sleep(0.05)
    seconds = gevent.get_hub().loop.now() - begun
    runner.quit()
    times.sort()
    place = [f"{1000 * times[min(len(times) - 1, int(share * len(times)))]:.0f}" for share in (0.5, 0.99)]
    figures = [counts["results"], counts["refused"], counts["lost"]]
    print(table_row([str(users), f"{counts['results'] / seconds:.2f}", *place, *map(str, figures)]), flush=True)
    return figures


def main() -> int:
    """Start a service, load it, print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("recordings", nargs="+", type=Path)
    parser.add_argument("--route", choices=("tag", "caption"), default="tag")
    parser.add_argument("--users", nargs="+", type=int, default=[1, 2, 4, 8, 16, 32, 68], help="68 is twice the places")
    parser.add_argument("--requests", type=int, default=10_000, help="for the most users; others send a tenth")
    arguments = parser.parse_args()
    from gevent import monkey

    command = [sys.executable, "-m", "sonopsis", "serve", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=dict(os.environ)) as process:
        try:
            assert process.stderr is not None
            found = re.search(r"http://\S+", process.stderr.readline())
            if found is None:
                print(process.stderr.read(), file=sys.stderr)
                return 1
            monkey.patch_all()
            return load(found[0], arguments)
        finally:
            process.terminate()


def load(address: str, arguments: Any) -> int:
    """The table of a service at an address."""
    import requests

    def alone(file: Path) -> str:
        answer = requests.post(address + route, files={"file": (file.name, file.read_bytes())}, timeout=600)
        answer.raise_for_status()
        return str(answer.text)

    route = f"/v1/{arguments.route}"
    answers = {file: alone(file) for file in arguments.recordings}
    print(table_row(["users", "results/s", "p50 ms", "p99 ms", "results", "429", "lost"]))
    print(table_row(["---:"] * 7))
    lost = 0
    for users in arguments.users:
        count = arguments.requests if users == max(arguments.users) else max(users, arguments.requests // 10)
        lost += measure(address, route, arguments.recordings, answers, users, count)[2]
    recovered = alone(arguments.recordings[0]) == answers[arguments.recordings[0]]
    print(f"after the overload: {'the same answer as before' if recovered else 'another answer than before'}")
    return 0 if recovered and not lost else 1


if __name__ == "__main__":
    raise SystemExit(main())
