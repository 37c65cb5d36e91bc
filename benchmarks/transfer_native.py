"""The two C programs of ``make bench-transfer``: an S3 that stores no bytes, and the bare relay.

They are built from ``benchmarks/native`` into ``.state/bench`` when they are first needed, and
again when their sources change.
"""

from __future__ import annotations

import http.client
import json
import shutil
import ssl
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.ports import LOOPBACK
from tests.support.tls import Certificate

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "benchmarks" / "native"
BUILT = ROOT / ".state" / "bench"
RELAY = BUILT / "relay"
NULL_S3 = BUILT / "null_s3"
_MISSING = (
    "error: make bench-transfer builds two small C programs, and {what}; on Debian: "
    "apt-get install gcc libssl-dev"
)


def build() -> None:
    """Build what is missing or older than its sources.

    :raises SystemExit: saying what to install.
    """
    newest = max(file.stat().st_mtime for file in SOURCES.iterdir())
    BUILT.mkdir(parents=True, exist_ok=True)
    for program in (NULL_S3, RELAY):
        if program.exists() and program.stat().st_mtime > newest:
            continue
        compiler = shutil.which("cc")
        if compiler is None:
            raise SystemExit(_MISSING.format(what="there is no C compiler (cc)"))
        _require_headers(compiler)
        # Beside its place first: a program that runs cannot be written to.
        made = program.with_suffix(".new")
        source = SOURCES / f"{program.name}.c"
        command = [compiler, "-std=gnu11", "-O2", "-Wall", "-Wextra", "-o", str(made), str(source)]
        subprocess.run([*command, "-lssl", "-lcrypto", "-lpthread"], check=True)
        made.replace(program)


def _require_headers(compiler: str) -> None:
    done = subprocess.run(
        [compiler, "-E", "-"],
        input="#include <openssl/ssl.h>\n",
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(_MISSING.format(what="the headers of OpenSSL are not there"))


class NullServer:
    """The null S3 in a process of its own.

    :param certificate: to speak TLS.
    :param delay_ms: what each request waits before its answer begins.
    """

    def __init__(self, certificate: Certificate | None = None, *, delay_ms: int = 0) -> None:
        self._tls = certificate
        files = (certificate.cert_file, certificate.key_file) if certificate else ()
        tls = ["--tls", *map(str, files)] if files else []
        self._child = subprocess.Popen(
            [str(NULL_S3), *tls, "--delay-ms", str(delay_ms)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._child.stdout is not None
        self.port = int(self._child.stdout.readline())
        self.address = f"{LOOPBACK}:{self.port}"
        self.endpoint_url = f"{'https' if certificate else 'http'}://{self.address}"
        self.ca_file = certificate.ca_file if certificate else None

    def ask(self, method: str, path: str) -> bytes:
        """Give an order."""
        connection: http.client.HTTPConnection
        if self.ca_file:
            trusted = ssl.create_default_context(cafile=str(self.ca_file))
            connection = http.client.HTTPSConnection(LOOPBACK, self.port, context=trusted)
        else:
            connection = http.client.HTTPConnection(LOOPBACK, self.port)
        connection.request(method, path)
        answer = connection.getresponse().read()
        connection.close()
        return answer

    def keep(self) -> None:
        """Let the state bucket come back as it is now at each reset."""
        self.ask("POST", "/keep")

    def reset(self) -> None:
        """Forget what arrived."""
        self.ask("POST", "/reset")

    def totals(self) -> dict[str, Any]:
        """Return what arrived since the last reset."""
        found: dict[str, Any] = json.loads(self.ask("GET", "/totals"))
        return found

    def __enter__(self) -> Self:
        """Return the running server."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it."""
        self._child.communicate(timeout=30)
