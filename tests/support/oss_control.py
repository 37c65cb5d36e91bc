"""The way in to an OSS test server of another process: a few methods over JSON.

Bytes travel as ``{"base64": "..."}``. Only who knows the token may call.
"""

from __future__ import annotations

import base64
import dataclasses
import hmac
import http.client
import json
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.oss_faults import Fault
from tests.support.oss_messages import Answer, OSSError, Request
from tests.support.oss_server import CONTROL_PATH, OSSServer
from tests.support.ports import LOOPBACK

TOKEN_HEADER = "x-control-token"
_OF_STATE = (
    "create_bucket",
    "put",
    "put_multipart",
    "append",
    "put_symlink",
    "put_synthetic",
    "set_class",
    "finish_restore",
    "set_tags",
    "set_encryption",
    "set_modified",
    "corrupt",
    "requester_pays",
    "delete",
)


class ControlError(RuntimeError):
    """The server did not do what it was told."""


class Control:
    """Executes what arrives at the control path of a server."""

    def __init__(self, server: OSSServer, token: str) -> None:
        self._server = server
        self._token = token
        self._methods: dict[str, Callable[..., Any]] = {
            **{name: getattr(server.state, name) for name in _OF_STATE},
            "add_fault": self._add_fault,
            "clear_faults": server.faults.clear,
            "release_faults": server.faults.release,
            "stalled": self._stalled,
            "add_credentials": server.add_credentials,
            "seen": self._seen,
            "forget_seen": server.requests.clear,
        }

    def answer(self, request: Request) -> Answer:
        """Return the result of the method named, or why there is none."""
        given = request.headers.get(TOKEN_HEADER, "")
        if request.method != "POST" or not hmac.compare_digest(
            given.encode(), self._token.encode()
        ):
            return _answer(403, {"error": "the control token is missing or wrong"})
        try:
            call = json.loads(request.body)
            method = self._methods[call["method"]]
            arguments = _decoded(call.get("args", [])), _decoded(call.get("kwargs", {}))
            result = method(*arguments[0], **arguments[1])
        except (KeyError, TypeError, ValueError, OSSError) as error:
            return _answer(400, {"error": f"{type(error).__name__}: {error}"})
        return _answer(200, {"result": result})

    def _add_fault(self, **fields: Any) -> None:
        self._server.faults.add(Fault(**fields))

    def _stalled(self) -> int:
        return self._server.faults.stalled

    def _seen(self, **which: Any) -> list[dict[str, Any]]:
        return [dataclasses.asdict(request) for request in self._server.requests.seen(**which)]


def connected(port: int, ca_file: Path | None) -> http.client.HTTPConnection:
    """Return a connection to a server on this machine, over TLS if it has a certificate."""
    if ca_file is None:
        return http.client.HTTPConnection(LOOPBACK, port, timeout=60)
    context = ssl.create_default_context(cafile=str(ca_file))
    return http.client.HTTPSConnection(LOOPBACK, port, timeout=60, context=context)


def call_control(
    connection: http.client.HTTPConnection, token: str, method: str, *args: Any, **kwargs: Any
) -> Any:
    """Call a method of a server; ControlError if it refuses. The connection ends with it."""
    body = json.dumps({"method": method, "args": _encoded(args), "kwargs": _encoded(kwargs)})
    try:
        connection.request("POST", CONTROL_PATH, body, {TOKEN_HEADER: token})
        answer = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    if "error" in answer:
        raise ControlError(f"{method}: {answer['error']}")
    return answer["result"]


def _answer(status: int, document: dict[str, Any]) -> Answer:
    body = json.dumps(document).encode()
    return Answer(status=status, headers={"content-type": "application/json"}, body=body)


def _encoded(value: Any) -> Any:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {name: _encoded(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encoded(item) for item in value]
    return value


def _decoded(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"base64"}:
            return base64.b64decode(value["base64"], validate=True)
        return {name: _decoded(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    return value
