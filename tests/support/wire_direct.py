"""Servers that play an S3 by script, and what reads their requests as they were sent."""

from __future__ import annotations

import selectors
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import boto3
from botocore.config import Config

from airflow_provider_s3resume.storage._connections import Connections, Place, Waits
from airflow_provider_s3resume.storage._pace import Patience
from airflow_provider_s3resume.storage._s3_direct import Direct, open_direct
from airflow_provider_s3resume.storage.base import Exchange
from airflow_provider_s3resume.storage.s3 import S3Settings, S3Store, client_config
from tests.support.endpoints import CLIENTS, NO_PROXIES
from tests.support.tls import Certificate
from tests.support.wire_scripted import Handler, Scripted

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

T = TypeVar("T")
DEADLINE_S = 20.0
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request as it came; headers by lower-case name."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


def read_request(connection: socket.socket) -> Asked | None:
    """Read a request with its body, asked for where its head wants that; ``None`` at the end."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return None
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        assert name.lower() not in headers, f"{name} is sent twice"
        headers[name.lower()] = value.strip()
    if "100-continue" in headers.get("expect", ""):
        connection.sendall(CONTINUE)
    body = _read_body(connection, headers, body)
    method, target, version = first.split(" ")
    assert version == "HTTP/1.1"
    return Asked(method=method, target=target, headers=headers, body=body)


def _read_body(connection: socket.socket, headers: Mapping[str, str], body: bytes) -> bytes:
    chunked = headers.get("transfer-encoding") == "chunked"
    length = int(headers.get("content-length", 0))
    while not body.endswith(b"0\r\n\r\n") if chunked else len(body) < length:
        more = connection.recv(1 << 20)
        if not more:
            break
        body += more
    return body


def answer(status: int = 200, body: bytes = b"", **headers: str) -> bytes:
    """Return an answer with its length; names of headers are written with underscores."""
    given = {
        "content-length": str(len(body)),
        **{n.replace("_", "-"): v for n, v in headers.items()},
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items() if value)
    return f"HTTP/1.1 {status} Said\r\n{lines}\r\n".encode("latin-1") + body


def over_tls(
    certificate: Certificate, handler: Handler, version: ssl.TLSVersion | None = None
) -> Handler:
    """Return what does the same over TLS, of one version if one is named."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.cert_file, certificate.key_file)
    if version is not None:
        context.minimum_version = context.maximum_version = version

    def serve(connection: socket.socket, over: threading.Event) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            handler(secure, over)

    return serve


class Recorder(Scripted):
    """A server that gives one answer after the other, the last one for ever.

    :param answers: as they are sent; an empty one closes the connection instead.
    """

    def __init__(self, *answers: bytes, certificate: Certificate | None = None) -> None:
        self.requests: list[Asked] = []
        self.connections = 0
        self._answers = list(answers)
        self._certificate = certificate
        secure = over_tls(certificate, self._answer) if certificate is not None else self._answer
        super().__init__(secure)

    @property
    def url(self) -> str:
        """Where it listens."""
        url = super().url
        return url if self._certificate is None else f"https{url[4:]}"

    @property
    def asked(self) -> Asked:
        """The last request."""
        return self.requests[-1]

    def _answer(self, connection: socket.socket, _: threading.Event) -> None:
        self.connections += 1
        while (request := read_request(connection)) is not None:
            self.requests.append(request)
            said = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
            if not said:
                return
            connection.sendall(said)


def trusting(certificate: Certificate) -> ssl.SSLContext:
    """Return what a client verifies the tests' own servers with."""
    return ssl.create_default_context(cafile=str(certificate.ca_file))


def connections_to(
    url: str,
    certificate: Certificate | None = None,
    *,
    patience: Patience | None = None,
    most: int = 4,
    **waits: float,
) -> Connections:
    """Return connections to a scripted server, which speaks TLS if there is a certificate."""
    host, port = url.partition("://")[2].split(":")
    context = (lambda: trusting(certificate)) if certificate is not None else None
    place = Place(host=host, port=int(port), context=context)
    given: dict[str, Any] = {"connect_timeout_s": 10.0, "read_timeout_s": 10.0, **waits}
    return Connections(place, Waits(**given, patience=patience or Patience()), most=most)


def client_of(
    url: str, *, ca_file: object = None, settings: S3Settings | None = None, **options: Any
) -> S3Client:
    """Return a client as the hooks make it: for path style, and without any proxy.

    :param options: of the client; ``config`` is put on top of what the settings ask for.
    """
    config = client_config(settings or S3Settings(addressing_style="path"))
    config.update({"proxies": NO_PROXIES, **options.pop("config", {})})
    given = {
        "aws_access_key_id": "key",
        "aws_secret_access_key": "secret",
        "region_name": "us-east-1",
        "verify": str(ca_file) if ca_file else None,
        **options,
    }
    with CLIENTS:
        return boto3.client("s3", endpoint_url=url, config=Config(**config), **given)


def store_of(url: str, *, direct: bool = True, **options: Any) -> S3Store:
    """Return a store of the bucket "bucket", by whose calls its bytes move either way."""
    settings = options.get("settings") or S3Settings(addressing_style="path")
    client = client_of(url, **{**options, "settings": settings})
    store = S3Store(client, "bucket", service=url, settings=settings)
    if not direct:
        store._calls._direct = None
    return store


def direct_of(client: S3Client, bucket: str = "bucket") -> Direct:
    """Return what makes a client's calls directly."""
    direct = open_direct(client, bucket, Patience())
    assert direct is not None
    return direct


def drive(exchange: Exchange[T], *, ticks: Callable[[], float] = time.monotonic) -> T:
    """Go on with an exchange whenever its line is ready, until it has ended; return its result.

    :param ticks: the time that the exchange is told when nothing is ready.
    """
    until = time.monotonic() + DEADLINE_S
    with selectors.DefaultSelector() as selector:
        selector.register(exchange.line, selectors.EVENT_READ)
        while not exchange.advance():
            wanted = selectors.EVENT_WRITE if exchange.wants_to_write else 0
            selector.modify(exchange.line, selectors.EVENT_READ | wanted)
            if not selector.select(0.05) and exchange.look(ticks()):
                break
            assert time.monotonic() < until, "the exchange does not end"
    return exchange.result()
