"""Requests of oss2 without a body, sent by connections of our own (``_connection``).

oss2 signs; what it signed is sent as it is. Requests through a proxy are left to ``requests``.
"""

from __future__ import annotations

import io
import logging
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import requests
from requests.structures import CaseInsensitiveDict
from requests.utils import DEFAULT_CA_BUNDLE_PATH

from airflow_provider_s3resume.storage import _heads
from airflow_provider_s3resume.storage._connections import Connections, Place, Waits
from airflow_provider_s3resume.storage._direct_body import DirectBody
from airflow_provider_s3resume.storage._pace import AWAITED, Awaited
from airflow_provider_s3resume.storage._tls import tls_context

if TYPE_CHECKING:
    from airflow_provider_s3resume.storage._connection import Connection
    from airflow_provider_s3resume.storage._oss_settings import OSSSettings

log = logging.getLogger(__name__)

_PORTS: Final = {"http": 80, "https": 443}
_METHODS: Final = frozenset({"GET", "HEAD"})
_MOST: Final = 16 << 20
"""Bytes of an answer that is no object: a page of a listing has one or two MiB."""
_REFUSALS: Final = 300


class DirectAnswer:
    """An answer with what oss2 and the store look at."""

    def __init__(self, status: int, headers: CaseInsensitiveDict[str], raw: Any) -> None:  # noqa: ANN401 - two kinds
        self.status_code = status
        self.headers = headers
        self.raw = raw


class DirectSender:
    """Sends requests to the places of one bucket."""

    def __init__(self, settings: OSSSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._pools: dict[tuple[str, str], Connections] = {}

    def serves(self, request: requests.PreparedRequest) -> bool:
        """Tell whether a request can be sent from here."""
        scheme = urlsplit(str(request.url)).scheme
        proxied = (self._settings.proxies or {}).get(scheme)
        return scheme in _PORTS and not proxied and request.method in _METHODS and not request.body

    def send(self, request: requests.PreparedRequest) -> DirectAnswer:
        """Send a request; the answer's body is unread if it is an object's.

        :raises OSError: if the network fails.
        :raises ValueError: if the request cannot be sent.
        """
        parts = urlsplit(str(request.url))
        target = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
        given = {name: _text(value) for name, value in request.headers.items()}
        headers = {"Host": parts.netloc, "Accept-Encoding": "identity", **given}
        method, awaited = str(request.method), AWAITED.get()
        head = _heads.request_head(method, target, headers, encoding="latin-1")
        pool = self._pool(parts.scheme, parts.netloc)
        connection = pool.take()
        try:
            connection.begin(awaited)
            connection.send(memoryview(head))
            connection.end()
            answer = connection.answer(method)
            log.debug("%s %s: %d", method, parts.path, answer.status)
            raw = _body(connection, pool, answer, awaited)
        except BaseException:
            connection.close()
            raise
        return DirectAnswer(answer.status, CaseInsensitiveDict(answer.headers), raw)

    def _pool(self, scheme: str, netloc: str) -> Connections:
        settings = self._settings
        with self._lock:
            if (scheme, netloc) not in self._pools:
                parts = urlsplit(f"{scheme}://{netloc}")
                context = partial(tls_context, _authorities(settings.verify))
                place = Place(
                    host=parts.hostname or "",
                    port=parts.port or _PORTS[scheme],
                    context=context if scheme == "https" else None,
                )
                waits = Waits(
                    connect_timeout_s=settings.connect_timeout_s,
                    read_timeout_s=settings.read_timeout_s,
                    patience=settings.patience,
                )
                self._pools[scheme, netloc] = Connections(place, waits, most=settings.connections)
            return self._pools[scheme, netloc]


def _body(connection: Connection, pool: Connections, answer: _heads.Head, awaited: Awaited) -> Any:  # noqa: ANN401 - two kinds
    if awaited is Awaited.BODY and answer.status < _REFUSALS and answer.length is not None:
        return DirectBody(connection, answer.length, pool.give_back)
    data = connection.read_rest(_MOST)
    pool.give_back(connection)
    return _Read(data)


class _Read(io.BytesIO):
    """A body that was read already; stands where urllib3's response does."""

    def read(self, size: int | None = -1, /, *, decode_content: bool = False) -> bytes:  # noqa: ARG002 - urllib3's
        """Return the next bytes."""
        return super().read(size)

    def release_conn(self) -> None:
        """Do nothing: the connection was given back."""


def _authorities(verify: bool | str) -> str | None:  # noqa: FBT001 - a setting
    if verify is True:
        return DEFAULT_CA_BUNDLE_PATH
    return str(verify) if verify else None


def _text(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
