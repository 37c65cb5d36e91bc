"""A queue service whose callers are judged by policies: what they are not allowed is refused.

A wire sees no bodies, and only those name the queue; so this stands before a queue service, passes
on what is allowed and answers the rest as Amazon SQS does.
"""

from __future__ import annotations

import http.client
import http.server
import json
import threading
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from tests.support.iam import Asked, Policies
from tests.support.ports import LOOPBACK

ACTIONS = {
    "ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
    "DeleteMessageBatch": "sqs:DeleteMessage",
    "GetQueueAttributes": "sqs:GetQueueAttributes",
    "ReceiveMessage": "sqs:ReceiveMessage",
    "SendMessage": "sqs:SendMessage",
}
"""Calls with the actions that they need ("Actions, resources, and condition keys for SQS")."""
_DENIED = {"__type": "com.amazon.coral.service#AccessDeniedException", "message": "Access denied"}
_WAIT_S = 60


def arn_of(queue_url: str, region: str) -> str:
    """Return the ARN of a queue by its address, which ends with account and name."""
    account, name = urlsplit(queue_url).path.strip("/").split("/")
    return f"arn:aws:sqs:{region}:{account}:{name}"


class QueueGate:
    """Stands before a queue service; without policies everything passes.

    :param server_url: of the service.
    """

    def __init__(self, server_url: str, region: str) -> None:
        self.policies: Policies | None = None
        self.calls: set[str] = set()
        self.refused: list[str] = []
        self.allowed: list[Asked] = []
        self._region = region
        self._upstream = urlsplit(server_url)
        self._server = http.server.ThreadingHTTPServer((LOOPBACK, 0), self._handler())

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://{LOOPBACK}:{self._server.server_port}"

    def _answer(self, headers: dict[str, str], path: str, body: bytes) -> tuple[int, bytes]:
        call = headers["X-Amz-Target"].partition(".")[2]
        arn = arn_of(json.loads(body)["QueueUrl"], self._region)
        asked = Asked(action=ACTIONS[call], bucket="", resource=arn)
        self.calls.add(call)
        if self.policies is not None and not self.policies.allow(asked):
            self.refused.append(asked.action)
            return 403, json.dumps(_DENIED).encode()
        self.allowed.append(asked)
        upstream = http.client.HTTPConnection(
            self._upstream.hostname or "", self._upstream.port, timeout=_WAIT_S
        )
        upstream.request("POST", path, body, headers)
        answer = upstream.getresponse()
        text = answer.read()
        upstream.close()
        return answer.status, text

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers: dict[str, Any] = dict(self.headers)
                status, text = outer._answer(headers, self.path, body)
                self.send_response(status)
                self.send_header("Content-Type", "application/x-amz-json-1.0")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: object) -> None:
                """Say nothing: the log is the test's."""

        return Handler

    def __enter__(self) -> Self:
        """Listen."""
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
