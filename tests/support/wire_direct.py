"""Servers that play an S3 by script, and what reads their requests as they were sent."""

from __future__ import annotations

import selectors
import socket
import ssl
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import boto3
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import ReadOnlyCredentials

from airflow_provider_s3resume.storage._connections import Connections, Place, Waits
from airflow_provider_s3resume.storage._pace import Patience
from airflow_provider_s3resume.storage._s3_direct import Direct, open_direct
from airflow_provider_s3resume.storage.express import Exchange
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


Said = bytes | Callable[[Asked], bytes]


def read_head(connection: socket.socket) -> bytes:
    """Read a request's head, and what came with it.

    :raises ConnectionError: if the client ends before.
    """
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            raise ConnectionResetError("the client has gone")
        data += more
    return data


def read_request(connection: socket.socket) -> Asked | None:
    """Read a request with its body, asked for where its head wants that; ``None`` at the end."""
    try:
        data = read_head(connection)
    except ConnectionResetError:
        return None
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
    data = bytearray(body)
    while not data.endswith(b"0\r\n\r\n") if chunked else len(data) < length:
        more = connection.recv(1 << 20)
        if not more:
            break
        data += more
    return bytes(data)


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


class Scene(Scripted):
    """A scripted server, which speaks TLS if it is given a certificate."""

    def __init__(
        self,
        handler: Handler,
        certificate: Certificate | None = None,
        version: ssl.TLSVersion | None = None,
    ) -> None:
        self.certificate = certificate
        super().__init__(over_tls(certificate, handler, version) if certificate else handler)

    @property
    def url(self) -> str:
        """Where it listens."""
        url = super().url
        return url if self.certificate is None else f"https{url[4:]}"


class Recorder(Scene):
    """A server that gives one answer after the other, the last one for ever.

    :param answers: as they are sent, or what makes them of a request; an empty one closes the
        connection instead.
    """

    def __init__(self, *answers: Said, certificate: Certificate | None = None) -> None:
        self.requests: list[Asked] = []
        self.connections = 0
        self._answers = list(answers)
        super().__init__(self._serve_one, certificate)

    def says(self, *answers: Said) -> None:
        """Give other answers from now on."""
        self._answers = list(answers)

    @property
    def asked(self) -> Asked:
        """The last request."""
        return self.requests[-1]

    def _serve_one(self, connection: socket.socket, _: threading.Event) -> None:
        self.connections += 1
        while (request := read_request(connection)) is not None:
            self.requests.append(request)
            said = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
            data = said(request) if callable(said) else said
            if not data:
                return
            connection.sendall(data)


class Servers:
    """Makes servers and connections to them, and ends them all.

    :param certificate: what those show that speak TLS.
    """

    def __init__(self, certificate: Certificate) -> None:
        self.certificate = certificate
        self._made: list[Scene | Connections] = []

    def scripted(
        self, handler: Handler, *, secure: bool = False, version: ssl.TLSVersion | None = None
    ) -> Scene:
        """Return a server that does one thing to each connection."""
        made = Scene(handler, self.certificate if secure else None, version)
        self._made.append(made)
        return made

    def beneath_tls(self, handler: Handler) -> Scene:
        """Return a server that clients speak TLS to; its handler has the bytes as they are."""
        made = Scene(handler)
        made.certificate = self.certificate
        self._made.append(made)
        return made

    def recorder(self, *answers: Said, secure: bool = False) -> Recorder:
        """Return a server that gives answers and keeps what it was asked."""
        made = Recorder(*answers, certificate=self.certificate if secure else None)
        self._made.append(made)
        return made

    def connections(
        self,
        server: Scene,
        *,
        patience: Patience | None = None,
        most: int = 4,
        context: Callable[[], ssl.SSLContext] | None = None,
        **waits: float,
    ) -> Connections:
        """Return connections to a server.

        :param context: what it is verified with, if not as it should be.
        """
        scheme, _, place = server.url.partition("://")
        host, _, port = place.partition(":")
        verified = context or (lambda: trusting(self.certificate))
        made = Connections(
            Place(host=host, port=int(port), context=verified if scheme == "https" else None),
            Waits(
                connect_timeout_s=waits.pop("connect_timeout_s", 10.0),
                read_timeout_s=waits.pop("read_timeout_s", 10.0),
                patience=patience or Patience(),
            ),
            most=most,
        )
        assert not waits
        self._made.append(made)
        return made

    def close(self) -> None:
        """End all that was made."""
        while self._made:
            self._made.pop().close()


def trusting(certificate: Certificate) -> ssl.SSLContext:
    """Return what a client verifies the tests' own servers with."""
    return ssl.create_default_context(cafile=str(certificate.ca_file))


def client_of(
    url: str | None, *, ca_file: object = None, settings: S3Settings | None = None, **options: Any
) -> S3Client:
    """Return a client as the hooks make it: for path style, and without any proxy.

    :param options: of the client; ``config`` is put on top of what the settings ask for.
    """
    config: dict[str, Any] = client_config(settings or S3Settings(addressing_style="path"))
    config.update({"proxies": NO_PROXIES, **options.pop("config", {})})
    given: dict[str, Any] = {
        "aws_access_key_id": "key",
        "aws_secret_access_key": "secret",
        "region_name": "us-east-1",
        "verify": str(ca_file) if ca_file else None,
        **options,
    }
    with CLIENTS:
        return boto3.client("s3", endpoint_url=url, config=Config(**config), **given)


def store_of(
    server: Scene,
    *,
    direct: bool = True,
    settings: S3Settings | None = None,
    bucket: str = "bucket",
    **options: Any,
) -> S3Store:
    """Return a store of a bucket of a server's, whose bytes botocore moves unless ``direct``."""
    given = replace(settings or S3Settings(addressing_style="path"), direct=direct)
    trusted = {"ca_file": server.certificate.ca_file} if server.certificate else {}
    client = client_of(server.url, settings=given, **{**trusted, **options})
    return S3Store(client, bucket, service=server.url, settings=given)


def signature_of(
    asked: Asked, url: str, secret_key: str, *, token: str | None = None
) -> str | None:
    """Return what botocore's own signer would have put into a request's "Authorization".

    It signs the headers that the request says it signed, at the request's own time.
    """
    said = asked.headers["authorization"]
    signed = said.partition("SignedHeaders=")[2].partition(",")[0].split(";")
    access_key, _, region, service, _ = said.partition("Credential=")[2].split(",")[0].split("/")
    creds = ReadOnlyCredentials(access_key, secret_key, token)
    headers = {name: asked.headers[name] for name in signed}
    request = AWSRequest(method=asked.method, url=f"{url}{asked.target}", headers=headers)
    request.context["timestamp"] = asked.headers["x-amz-date"]
    auth: Any = S3SigV4Auth(creds, service, region)
    text = auth.string_to_sign(request, auth.canonical_request(request))
    auth._inject_signature_to_request(request, auth.signature(text, request))
    found: str | None = request.headers["Authorization"]
    return found


def everything_in(error: BaseException) -> str:
    """Return what an error, and all that it was raised from or beside, can be made to tell."""
    told, waiting, seen = "", [error], set[int]()
    while waiting:
        one = waiting.pop()
        seen.add(id(one))
        told += "".join(traceback.format_exception(one, chain=False))
        told += f"{one} {one!r} {one.args} {vars(one)} {getattr(one, 'object', '')}"
        beneath = [*one.args, *vars(one).values(), *getattr(one, "kwargs", {}).values()]
        following = [one.__cause__, one.__context__, *beneath]
        waiting += [e for e in following if isinstance(e, BaseException) and id(e) not in seen]
    return told


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
