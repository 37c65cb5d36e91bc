"""The made-up S3 of ``tests.support.null_s3``, taking so many requests a second and no more.

``python -m benchmarks.throttled_server`` prints its port and serves until its stdin ends. The
bucket ``source`` is one side, all others are the other side, ``target``; each has a gate of its
own, a token bucket. ``POST /gates`` sets both and forgets what was counted, ``GET /gates`` tells
it. What comes too soon is answered with 503 SlowDown, before its body where that was announced.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any

from tests.support.null_s3 import Handler, Server

SLOW_DOWN = (
    b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
)


class Gate:
    """A token bucket that counts; without a rate it is open."""

    def __init__(self, rate: float | None = None, burst: float = 1.0) -> None:
        self.rate = rate
        self.burst = max(1.0, burst)
        self.taken = 0
        self.refused = 0
        self._level = self.burst
        self._at = time.monotonic()
        self._lock = threading.Lock()

    def takes(self) -> bool:
        """Tell whether a request is taken that comes now."""
        with self._lock:
            if self.rate is not None:
                now = time.monotonic()
                self._level = min(self.burst, self._level + (now - self._at) * self.rate)
                self._at = now
                if self._level < 1:
                    self.refused += 1
                    return False
                self._level -= 1
            self.taken += 1
            return True


GATES = {"source": Gate(), "target": Gate()}


class ThrottledHandler(Handler):
    """One connection, whose requests pass a gate before anything else."""

    def parse_request(self) -> bool:
        """Read the head of a request; refuse what comes too soon."""
        self._refuses = False
        if not super().parse_request():
            return False
        # With an announced body it was asked already.
        if not self._refuses and self.headers.get("Expect", "").lower() != "100-continue":
            self._refuses = not self._passes()
            if self._refuses:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self._refuses:
            self._answer(503, SLOW_DOWN)
            self.wfile.flush()
        return not self._refuses

    def handle_expect_100(self) -> bool:
        """Let a body come only if its request is taken."""
        self._refuses = not self._passes()
        return True

    def _passes(self) -> bool:
        bucket = self.path.partition("?")[0].lstrip("/").partition("/")[0]
        if bucket in {"gates", "keep", "reset", "totals"}:
            return True
        return GATES["source" if bucket == "source" else "target"].takes()

    def do_GET(self) -> None:  # noqa: N802 - http.server's name
        """Tell what was counted, or as the server beneath."""
        if self.path != "/gates":
            super().do_GET()
            return
        counts = {n: {"taken": g.taken, "refused": g.refused} for n, g in GATES.items()}
        self._answer(200, json.dumps(counts).encode())

    def do_POST(self) -> None:  # noqa: N802 - http.server's name
        """Set the gates, or as the server beneath."""
        if self.path != "/gates":
            super().do_POST()
            return
        given: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        GATES.update({name: Gate(**given.get(name, {})) for name in GATES})
        self._answer(200)


def main() -> None:
    """Serve until stdin ends."""
    server = Server(("127.0.0.1", 0), ThrottledHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
