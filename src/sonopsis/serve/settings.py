"""What whoever runs the service decides: limits, the number of workers, the key."""

import math
from dataclasses import dataclass, field

from sonopsis.many import cores

LEAST_RESULTS = 1_000_000  # bytes of results in JSON that may always be sent
RESULTS_RATE = 2_000  # bytes of results in JSON for a second of sound


@dataclass(frozen=True)
class Settings:
    """Limits of the service; raises ValueError for a number that makes no sense."""

    max_bytes: int = 200_000_000  # of one upload
    max_seconds: float = 3600.0  # of sound in one upload
    timeout: float = 300.0  # s for a short upload, for an answer, or from one event to the next
    queue: int = 32  # requests that may wait besides those that are computed
    workers: int = field(default_factory=cores)  # threads that compute
    api_key: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name in ("max_bytes", "max_seconds", "timeout", "workers"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be over 0, not {value!r}")
        if self.queue < 0:
            raise ValueError(f"queue must be at least 0, not {self.queue!r}")
        if self.api_key is not None and not (self.api_key and self.api_key.isascii() and self.api_key.isprintable()):
            raise ValueError("an API key is one or more printable ASCII characters")

    @property
    def max_results(self) -> int:
        """Bytes of results in JSON that are taken, which cost many times as much memory: enough for a recording of
        `max_seconds` with a window each second."""
        return min(self.max_bytes, max(LEAST_RESULTS, int(RESULTS_RATE * self.max_seconds)))

    @property
    def places(self) -> int:
        """How many requests are accepted at once."""
        return self.workers + self.queue
