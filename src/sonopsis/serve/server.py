"""The HTTP server of the service: uvicorn, which at SIGTERM or Ctrl-C finishes what it has accepted, then ends."""

import signal
import socket
import sys
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

# Seconds for which a connection stays open without requests. A client that is told to come back later uses it again: it
# must not be closed at that very moment, which the client would take for a lost request.
KEEP_ALIVE = 75


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, started: Callable[[str], object]) -> None:
        super().__init__(config)
        self._started = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, and say where."""
        await super().startup(sockets)
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            self._started(f"http://{f'[{host}]' if ':' in host else host}:{port}")


def run(app: FastAPI, host: str, port: int, started: Callable[[str], object]) -> bool:
    """Serve until a signal ends it; `started` is told the address. Whether the server came up.

    After SIGTERM, when all that was accepted is answered, SystemExit(0) is raised: uvicorn ends by sending itself the
    signal once more, and supervisors would take its status, 143, for a failure. After Ctrl-C it is KeyboardInterrupt.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = _Server(
        uvicorn.Config(app, host, port, log_config=None, access_log=False, timeout_keep_alive=KEEP_ALIVE), started
    )
    server.run()
    return server.started
