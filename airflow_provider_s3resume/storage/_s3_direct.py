"""The calls that carry an object's bytes: signed by botocore, moved by connections of our own.

``GetObject``, ``PutObject`` and ``UploadPart`` are most of what a copy does. botocore takes more
processor time to make and to read one of them than the network takes to carry it, and reads and
sends bodies in small pieces. So each such operation is made once by botocore in full, up to where
it would be sent (``_s3_templates``). Every call after that has its key and parameters put in, and
is signed with botocore's credentials of that moment.

Where anything about a client is out of the ordinary (a proxy, signed payloads, another kind of
signature), :func:`open_direct` or :meth:`Direct.serves` say no, and botocore does it all as ever.
"""

from __future__ import annotations

import logging
import ssl
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

from botocore.awsrequest import HeadersDict
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    SSLError,
)
from botocore.httpsession import get_cert_path
from botocore.parsers import create_parser

from airflow_provider_s3resume.storage._connection import AnsweredEarlyError, Connection
from airflow_provider_s3resume.storage._connections import Connections, Place, Waits
from airflow_provider_s3resume.storage._direct_body import DirectBody
from airflow_provider_s3resume.storage._pace import Awaited, Patience
from airflow_provider_s3resume.storage._s3_shapes import quoted_key
from airflow_provider_s3resume.storage._s3_templates import PORTS, Templates
from airflow_provider_s3resume.storage._sigv4 import UNSIGNED, UNSIGNED_TRAILED
from airflow_provider_s3resume.storage._tls import tls_context

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

    from airflow_provider_s3resume.storage._direct_body import Body
    from airflow_provider_s3resume.storage._exchange import Line
    from airflow_provider_s3resume.storage._heads import Head

log = logging.getLogger(__name__)
T = TypeVar("T")
OPERATIONS: Final = frozenset({"GetObject", "PutObject", "UploadPart"})
_WORKED_NOT: Final = 500
"""What botocore makes of a success whose body is an error."""
_LOOKED_AT: Final = 1024
_FRAME: Final = 64
"""The most bytes of a piece that waits for the next one."""
_WAITING: Final = 4
"""More pieces than these do not wait for one more: a file may be read byte by byte."""
_ERROR_BODY: Final = 1 << 20
_MOVED: Final = frozenset({301, 302, 303, 307, 308})
_SUCCESS: Final = range(200, 300)
_OTHER_REGION: Final = frozenset(
    {"AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
)


class MovedError(Exception):
    """The bucket is elsewhere: botocore finds out where, and the call is to be made by it."""


def _send(connection: Connection, head: bytes, pieces: Iterable[memoryview]) -> None:
    """Send a request; its head leaves with the first piece of its body, a frame with its chunk.

    By itself a frame would be a system call, and mostly wake the peer, for ten bytes. What waits
    has to stay as it is: that is read-only bytes; any other piece may be overwritten by the next.
    """
    waiting = [memoryview(head)]
    for piece in pieces:
        waiting.append(piece)
        if len(piece) > _FRAME or not piece.readonly or len(waiting) > _WAITING:
            connection.send(*waiting)
            waiting.clear()
    connection.send(*waiting)
    connection.end()


def open_direct(client: S3Client, bucket: str, patience: Patience) -> Direct | None:
    """Return what makes the calls directly, ``None`` if this client's have to be botocore's own."""
    session = getattr(getattr(client, "_endpoint", None), "http_session", None)
    config: Any = client.meta.config
    unsigned_payload = (config.s3 or {}).get("payload_signing_enabled") is False
    known = ("_verify", "_cert_file", "_key_file", "_proxy_config")
    if not unsigned_payload or not all(hasattr(session, name) for name in known):
        return None
    waits = Waits(
        connect_timeout_s=float(config.connect_timeout),
        read_timeout_s=float(config.read_timeout),
        patience=patience,
    )
    return Direct(client, session, bucket, waits, most=config.max_pool_connections)


class Direct:
    """Makes the calls of one bucket that carry bytes.

    :param session: botocore's own, which knows what is verified.
    :param most: connections kept.
    """

    def __init__(
        self,
        client: S3Client,
        session: Any,  # noqa: ANN401 - botocore's own
        bucket: str,
        waits: Waits,
        *,
        most: int,
    ) -> None:
        self._client = client
        self._session = session
        self._waits = waits
        self._most = most
        self._lock = threading.Lock()
        self._templates = Templates(client, session, bucket, self._pool)
        self._pools: dict[str, Connections] = {}
        self._shapes = self._templates.shapes
        self._parser = create_parser("rest-xml")

    def serves(self, operation: str) -> bool:
        """Tell whether calls of an operation can be made directly."""
        return operation in OPERATIONS and self._templates.of(operation) is not None

    def get(self, key: str, parameters: Mapping[str, Any]) -> tuple[dict[str, Any], DirectBody]:
        """Make a GetObject; return botocore's answer but its body, and the body.

        :raises ClientError: what the service says.
        :raises MovedError: if botocore has to be asked where the bucket is.
        """
        operation = "GetObject"
        place, head = self._request(operation, key, parameters, {})
        connection = self._take(place)
        try:
            connection.begin(Awaited.BODY)
            answer = self._exchange(connection, operation, head, ())
            found = self.answer(operation, answer)
        except ClientError:
            # Read to its end, mostly: a service that is busy is not asked for a new one, too.
            place.give_back(connection)
            raise
        except BaseException:
            connection.close()
            raise
        return found, DirectBody(connection, answer.length or 0, place.give_back)

    def send(
        self,
        operation: str,
        key: str,
        parameters: Mapping[str, Any],
        body: Body,
        raw_headers: Mapping[str, str],
    ) -> dict[str, Any]:
        """Make a PutObject or UploadPart; return botocore's answer.

        :raises ClientError: what the service says.
        :raises MovedError: if botocore has to be asked where the bucket is.
        """
        headers = {**raw_headers, **body.headers()}
        place, head = self._request(operation, key, parameters, headers, body.trailer)
        connection = self._take(place)
        try:
            connection.begin(Awaited.SMALL)
            answer = self._exchange(connection, operation, head, body.pieces())
            said = connection.read_rest(_ERROR_BODY)
            if is_error(said):
                self.refuse(operation, replace(answer, status=_WORKED_NOT), said)
        except ClientError:
            place.give_back(connection)
            raise
        except BaseException:
            connection.close()
            raise
        place.give_back(connection)
        return self.answer(operation, answer)

    def line(self, operation: str) -> Line:
        """Return a new connection to where an operation's requests are sent.

        :raises MovedError: if botocore makes them.
        """
        template = self._templates.of(operation)
        if template is None:
            raise MovedError(operation)
        return self._connected(template.pool, template.pool.line)

    def request(
        self,
        operation: str,
        key: str,
        parameters: Mapping[str, Any],
        headers: Mapping[str, str],
    ) -> tuple[object, bytes]:
        """Return where a request is sent (a line's ``place``), and its signed head."""
        return self._request(operation, key, parameters, headers)

    def answer(self, operation: str, head: Head) -> dict[str, Any]:
        """Return botocore's answer for the head of a success."""
        found = self._shapes[operation].answer(head.headers)
        found["ResponseMetadata"] = _metadata(head)
        return found

    def close(self) -> None:
        """Close the connections that are kept."""
        with self._lock:
            pools = list(self._pools.values())
        for pool in pools:
            pool.close()

    def after_fork(self) -> None:
        """Forget the connections of the process that this one was forked from.

        It goes on using them: here they are closed, and nothing is sent on them. Those of botocore
        are closed by its session in the same way.
        """
        for pool in self._pools.values():
            pool.after_fork()
        self._session.close()

    # A request.

    def _request(
        self,
        operation: str,
        key: str,
        parameters: Mapping[str, Any],
        more: Mapping[str, str],
        trailer: str | None = None,
    ) -> tuple[Connections, bytes]:
        template = self._templates.of(operation)
        if template is None:
            raise MovedError(operation)
        shapes = self._shapes[operation]
        given = shapes.headers(parameters)
        given.update(more)
        credentials = None
        if template.auth is not None:
            credentials = template.auth()
            if credentials is None:
                raise NoCredentialsError
        payload = UNSIGNED if trailer is None else UNSIGNED_TRAILED
        query = shapes.query(parameters)
        head = template.forms.head(quoted_key(key), query, given, payload, credentials)
        return template.pool, head

    def _exchange(
        self, connection: Connection, operation: str, head: bytes, pieces: Iterable[memoryview]
    ) -> Head:
        """Send a request; return the head of an answer that says it succeeded."""
        early: AnsweredEarlyError | None = None
        try:
            _send(connection, head, pieces)
        except AnsweredEarlyError as error:
            early = error
        try:
            answer = connection.answer(self._shapes[operation].method)
        except ConnectionError:
            if early is not None and early.__cause__ is not None:
                # There was no answer; this is how the connection ended.
                raise early.__cause__ from None
            raise
        log.debug("%s: %d", operation, answer.status)
        if answer.status in _SUCCESS and early is not None:
            raise ConnectionResetError("a success was answered before all was sent") from early
        if answer.status in _SUCCESS:
            return answer
        body = connection.read_rest(_ERROR_BODY)
        self.refuse(operation, answer, body)
        raise AssertionError("unreachable")

    def refuse(self, operation: str, answer: Head, body: bytes) -> None:
        """Raise what botocore raises about an answer that is no success.

        :raises ClientError: always, but in one case.
        :raises MovedError: if botocore has to be asked where the bucket is.
        """
        model: Any = self._client.meta.service_model.operation_model(operation)
        found = self._parser.parse(
            {
                "status_code": answer.status,
                "headers": HeadersDict(answer.headers),
                "body": body,
                "context": {"operation_name": operation},
            },
            model.output_shape,
        )
        code = str(found.get("Error", {}).get("Code", ""))
        if answer.status in _MOVED or code in _OTHER_REGION:
            self._templates.forget()
            raise MovedError(operation)
        raise ClientError(found, operation)

    # Connections.

    def _pool(self, scheme: str, netloc: str) -> Connections:
        name = f"{scheme}://{netloc}"
        with self._lock:
            if name not in self._pools:
                parts = urlsplit(name)
                place = Place(
                    host=parts.hostname or "",
                    port=parts.port or PORTS[scheme],
                    context=partial(_tls_context, self._session) if scheme == "https" else None,
                )
                self._pools[name] = Connections(place, self._waits, most=self._most)
            return self._pools[name]

    def _take(self, pool: Connections) -> Connection:
        return self._connected(pool, pool.take)

    def _connected(self, pool: Connections, connect: Callable[[], T]) -> T:
        """Raise what botocore raises if there is no connection."""
        url = pool.url
        try:
            return connect()
        except TimeoutError as error:
            raise ConnectTimeoutError(endpoint_url=url, error=error) from error
        except FileNotFoundError:
            # Of a file of authorities, or of a certificate: it is not the network's fault.
            raise
        except OSError as error:
            if isinstance(error, ssl.SSLError):
                raise SSLError(endpoint_url=url, error=error) from error
            raise EndpointConnectionError(endpoint_url=url, error=error) from error


def is_error(said: bytes) -> bool:
    """Tell whether the body of a success says that it is none, as botocore looks for it, too."""
    return b"<Error" in said[:_LOOKED_AT]


def _metadata(answer: Head) -> dict[str, Any]:
    return {"HTTPStatusCode": answer.status, "HTTPHeaders": answer.headers}


def _tls_context(session: Any) -> ssl.SSLContext:  # noqa: ANN401 - botocore's own
    """Return what botocore's session verifies servers with."""
    verify, cert = session._verify, session._cert_file  # noqa: SLF001 - see open_direct
    own = (cert, session._key_file) if cert else None  # noqa: SLF001 - as above
    return tls_context(str(get_cert_path(verify)) if verify else None, own)
