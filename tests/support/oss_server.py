"""An Alibaba Cloud OSS in memory, on the loopback address, for tests.

It checks signatures, keeps versions, uploads, links, and archives, and commits faults when told.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import secrets
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterable, Mapping
from io import BufferedReader
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import oss2

from tests.support.oss_auth import Authenticator, Credentials
from tests.support.oss_faults import Fault, Faults, changed_answer, changed_request, instead
from tests.support.oss_http import Sender, read_request
from tests.support.oss_messages import Answer, OSSError, Request
from tests.support.oss_objects import OWNER, OSSState
from tests.support.oss_routes import Service, route
from tests.support.oss_xml import error_document
from tests.support.ports import LOOPBACK, free_port, require_free
from tests.support.tls import Certificate

REGION = "cn-hangzhou"
CONTROL_PATH = "/-/control"
_STOP_DEADLINE_S = 10.0
_BUFFER = 256 * 1024


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class OSSEndpoint:
    """The address of an OSS server with one identity; ``ca_file`` for a server that speaks TLS."""

    endpoint_url: str
    access_key_id: str
    access_key_secret: str
    region: str
    security_token: str | None = None
    ca_file: Path | None = None

    def bucket(self, name: str, *, auth_version: str = "v4") -> oss2.Bucket:
        """Return a client of a bucket, as the SDK makes it by default."""
        session = oss2.Session()
        # Else the environment's authorities, proxies, and netrc would come first.
        session.session.trust_env = False
        if self.ca_file:
            session.session.verify = str(self.ca_file)
        if self.security_token:
            keys = (self.access_key_id, self.access_key_secret, self.security_token)
            auth = oss2.StsAuth(*keys, auth_version=auth_version)
        else:
            auth = oss2.make_auth(self.access_key_id, self.access_key_secret, auth_version)
        return oss2.Bucket(auth, self.endpoint_url, name, region=self.region, session=session)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """A request as it was answered; its headers without the authorization."""

    operation: str
    method: str
    bucket: str
    key: str
    query: dict[str, str]
    headers: dict[str, str]
    status: int
    access_key_id: str | None


class SeenRequests(list[Seen]):
    """All requests in the order in which they were answered."""

    def seen(
        self, *, operation: str | None = None, key: str | None = None, bucket: str | None = None
    ) -> list[Seen]:
        """Return those of an operation, a key, or a bucket."""
        return [
            request
            for request in list(self)
            if operation in {None, request.operation}
            and key in {None, request.key}
            and bucket in {None, request.bucket}
        ]


class OSSServer:
    """An OSS service in threads of this process.

    Without ``port`` a free one is found; with ``certificate`` it speaks TLS. ``state`` is the way
    in for tests, ``faults`` are what it does wrong, ``requests`` what it was asked.
    """

    def __init__(
        self,
        *,
        port: int | None = None,
        certificate: Certificate | None = None,
        region: str = REGION,
        access_key_id: str = "LTAI5tTestServerKey",
        access_key_secret: str = "test-server-secret",
    ) -> None:
        self.state = OSSState(region)
        self.faults = Faults()
        self.requests = SeenRequests()
        self.control: Callable[[Request], Answer] | None = None
        self._port = port
        self._certificate = certificate
        self._keys = (access_key_id, access_key_secret)
        self._authenticator = Authenticator(region, self._now)
        self._service = Service(self.state, self._authenticator)
        self._listener: _Listener | None = None
        self.add_credentials(access_key_id, access_key_secret)

    @property
    def endpoint(self) -> OSSEndpoint:
        """The address and the first identity."""
        if self._port is None:
            raise RuntimeError("the server has no port before it starts")
        scheme = "https" if self._certificate else "http"
        return OSSEndpoint(
            endpoint_url=f"{scheme}://{LOOPBACK}:{self._port}",
            access_key_id=self._keys[0],
            access_key_secret=self._keys[1],
            region=self.state.region,
            ca_file=self._certificate.ca_file if self._certificate else None,
        )

    def add_credentials(
        self,
        access_key_id: str,
        access_key_secret: str,
        security_token: str | None = None,
        expires_at: float | None = None,
        *,
        account: str = OWNER,
    ) -> None:
        """Accept another identity: a temporary one has a token; another account owns nothing."""
        self._authenticator.add(
            Credentials(
                access_key_id=access_key_id,
                access_key_secret=access_key_secret,
                security_token=security_token,
                expires_at=expires_at,
                account=account,
            )
        )

    def limit(self, access_key_id: str, documents: Iterable[Mapping[str, Any]]) -> None:
        """Let an identity do what RAM policies allow, and nothing else."""
        self._service.limits.set(access_key_id, documents)

    def start(self) -> Self:
        """Begin to listen; PortInUseError if the port is taken. What was stored before is there."""
        if self._port is None:
            self._port = free_port()
        require_free(self._port)
        self.faults.open()
        self.state.address = f"{LOOPBACK}:{self._port}"
        context = _tls_context(self._certificate) if self._certificate else None
        self._listener = _Listener(self._port, context, self._serve)
        self._listener.begin()
        return self

    def stop(self) -> None:
        """Break off whatever is under way, and end."""
        self.faults.close()
        if self._listener is not None:
            self._listener.end()
            self._listener = None

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

    def _now(self) -> float:
        """Return the time of the state's clock, which a test may have replaced."""
        return self.state.clock()

    def _serve(self, connection: socket.socket) -> None:
        """Answer the requests of one connection until either side ends it."""
        sender = Sender(connection, self.faults)
        with BufferedReader(connection.makefile("rb", buffering=0), _BUFFER) as stream:
            keeps = True
            while keeps and (request := read_request(stream, connection)) is not None:
                keeps = self._answer_one(request, sender)

    def _answer_one(self, request: Request, sender: Sender) -> bool:
        if self.control is not None and request.target == CONTROL_PATH:
            return sender.send(request, self.control(request), None)
        route(request)
        headers = {k: v for k, v in request.headers.items() if k != "authorization"}
        query = dict(request.query)
        fault = self.faults.take(request)
        answer = self._answer(request, fault)
        if fault is not None:
            changed_answer(fault, answer)
        self.requests.append(
            Seen(
                operation=request.operation,
                method=request.method,
                bucket=request.bucket,
                key=request.key,
                query=query,
                headers=headers,
                status=answer.status,
                access_key_id=request.caller.access_key_id,
            )
        )
        return sender.send(request, answer, fault)

    def _answer(self, request: Request, fault: Fault | None) -> Answer:
        request_id = secrets.token_hex(12).upper()
        try:
            answer = instead(fault, request, self.state.clock()) if fault else None
            if answer is None:
                answer = self._service.answer(request, _overlooking(fault))
        except OSSError as error:
            answer = _error_answer(request, error, request_id)
        answer.headers["x-oss-request-id"] = request_id
        return answer


def _overlooking(fault: Fault | None) -> Callable[[Request], None]:
    def overlook(request: Request) -> None:
        if fault is not None:
            changed_request(fault, request)

    return overlook


def _error_answer(request: Request, error: OSSError, request_id: str) -> Answer:
    body = error_document(error, request_id, request.headers.get("host", ""))
    headers = {"content-type": "application/xml", **error.headers}
    if error.ec:
        headers["x-oss-ec"] = error.ec
    if request.method == "HEAD":
        headers["x-oss-err"] = base64.b64encode(body).decode()
        body = b""
    return Answer(status=error.status, headers=headers, body=body)


def _tls_context(certificate: Certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.cert_file, certificate.key_file)
    return context


class _Listener(socketserver.ThreadingTCPServer):
    """Accepts connections, and knows those that are open, so that it can end them."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(
        self, port: int, context: ssl.SSLContext | None, serve: Callable[[socket.socket], None]
    ) -> None:
        super().__init__((LOOPBACK, port), socketserver.BaseRequestHandler)
        self._context = context
        self._serve = serve
        self._lock = threading.Lock()
        self._open: dict[socket.socket, threading.Thread] = {}
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)

    def begin(self) -> None:
        """Accept connections in a thread."""
        self._thread.start()

    def end(self) -> None:
        """Accept no more, break off every connection, and wait for its thread."""
        self.shutdown()
        self._thread.join(_STOP_DEADLINE_S)
        with self._lock:
            left = dict(self._open)
        for connection, thread in left.items():
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            thread.join(_STOP_DEADLINE_S)
        self.server_close()

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Serve one connection to its end."""
        connection: socket.socket = request
        with self._lock:
            self._open[connection] = threading.current_thread()
        served = connection
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._context is not None:
                served = self._context.wrap_socket(
                    connection, server_side=True, do_handshake_on_connect=False
                )
                with self._lock:
                    self._open[served] = self._open.pop(connection)
                served.do_handshake()
            self._serve(served)
        except OSError:
            # The client went away, or the server stops: nobody is left to be told.
            pass
        finally:
            with self._lock:
                self._open.pop(connection, None)
                self._open.pop(served, None)
            self.shutdown_request(served)
