"""The OSS test server as a process of its own, for whole installations and for benchmarks.

``python -m tests.support.oss_process --port N`` serves until SIGTERM; the secret and the token for
its control come by environment variables, where no list of processes shows them.
"""

from __future__ import annotations

import argparse
import http.client
import os
import secrets
import signal
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.oss_control import Control, call_control, connected
from tests.support.oss_server import REGION, OSSEndpoint, OSSServer
from tests.support.ports import LOOPBACK, free_port, require_free
from tests.support.processes import Child
from tests.support.tls import Certificate

SECRET_VARIABLE = "OSS_SERVER_SECRET"
TOKEN_VARIABLE = "OSS_SERVER_CONTROL_TOKEN"
START_DEADLINE_S = 30.0
_ROOT = Path(__file__).parents[2]


class OSSProcess:
    """An OSS server in a process of its own, with what it prints in ``log_dir``.

    Its buckets end with it. ``control`` calls the methods of its state that no client has.
    """

    def __init__(
        self,
        log_dir: Path,
        *,
        port: int | None = None,
        certificate: Certificate | None = None,
        region: str = REGION,
        access_key_id: str = "LTAI5tTestServerKey",
        access_key_secret: str = "test-server-secret",
    ) -> None:
        self.port = port
        self._log_dir = log_dir
        self._certificate = certificate
        self._region = region
        self._keys = (access_key_id, access_key_secret)
        self._token = secrets.token_hex(16)
        self._child: Child | None = None

    @property
    def endpoint(self) -> OSSEndpoint:
        """The address and the identity."""
        if self.port is None:
            raise RuntimeError("the server has no port before it starts")
        scheme = "https" if self._certificate else "http"
        return OSSEndpoint(
            endpoint_url=f"{scheme}://{LOOPBACK}:{self.port}",
            access_key_id=self._keys[0],
            access_key_secret=self._keys[1],
            region=self._region,
            ca_file=self._certificate.ca_file if self._certificate else None,
        )

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        if self._child is None:
            raise RuntimeError("the server is not running")
        return self._child.pid

    def control(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method of the server's state, or one of those for faults and requests.

        ``add_fault(kind=..., ...)``, ``clear_faults``, ``release_faults``, ``stalled``,
        ``add_credentials``, ``seen(operation=..., key=...)``, and ``forget_seen``; ControlError if
        the server refuses.
        """
        return call_control(self._connection(), self._token, method, *args, **kwargs)

    def start(self) -> Self:
        """Start it and return once it answers; NotReadyError if it does not."""
        if self.port is None:
            self.port = free_port()
        require_free(self.port)
        child = Child(
            f"OSS on port {self.port}",
            self._command(self.port),
            log_file=self._log_dir / "oss.log",
            env={
                "PATH": os.environ["PATH"],
                SECRET_VARIABLE: self._keys[1],
                TOKEN_VARIABLE: self._token,
            },
            cwd=_ROOT,
        )
        self._child = child
        try:
            child.wait_ready(self._answers, deadline_s=START_DEADLINE_S)
        except BaseException:
            self.stop()
            raise
        return self

    def _command(self, port: int) -> list[str | Path]:
        command: list[str | Path] = [sys.executable, "-m", "tests.support.oss_process"]
        command += ["--port", str(port), "--access-key-id", self._keys[0]]
        command += ["--region", self._region]
        if self._certificate:
            command += ["--cert", self._certificate.cert_file]
            command += ["--key", self._certificate.key_file]
        return command

    def _answers(self) -> bool:
        connection = self._connection()
        try:
            connection.request("GET", "/")
            connection.getresponse().read()
        except OSError:
            return False
        finally:
            connection.close()
        return True

    def _connection(self) -> http.client.HTTPConnection:
        if self.port is None:
            raise RuntimeError("the server has no port before it starts")
        return connected(self.port, self._certificate.ca_file if self._certificate else None)

    def stop(self) -> None:
        """End the server and what it stored."""
        if self._child is not None:
            self._child.stop()
            self._child = None

    def kill(self) -> None:
        """End the server with SIGKILL."""
        if self._child is not None:
            self._child.kill()
            self._child = None

    def __enter__(self) -> Self:
        """Start the server."""
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the server."""
        self.stop()


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description="An Alibaba Cloud OSS in memory, for tests.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--access-key-id", required=True)
    parser.add_argument("--region", default=REGION)
    parser.add_argument("--cert", type=Path)
    parser.add_argument("--key", type=Path)
    given = parser.parse_args(arguments)
    certificate = Certificate(cert_file=given.cert, key_file=given.key) if given.cert else None
    server = OSSServer(
        port=given.port,
        certificate=certificate,
        region=given.region,
        access_key_id=given.access_key_id,
        access_key_secret=os.environ[SECRET_VARIABLE],
    )
    if token := os.environ.get(TOKEN_VARIABLE):
        server.control = Control(server, token).answer
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with server:
        print(f"OSS on {server.endpoint.endpoint_url}", flush=True)
        ended.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
