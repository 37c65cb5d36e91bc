"""A security token service whose credentials end after seconds, and wires that refuse them then.

A SeaweedFS gives out and checks real session tokens, but none that end within 15 minutes. So
``StsServer`` stands before its token service and writes another end into the answers, and
``expiry_rules`` let the wire before its bucket refuse what has ended, as S3 does.
"""

from __future__ import annotations

import datetime as dt
import http.client
import http.server
import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

import boto3
from botocore.config import Config

from tests.support.endpoints import S3Endpoint
from tests.support.iam import Asked, Policies
from tests.support.ports import LOOPBACK
from tests.support.seaweed import SeaweedServer
from tests.support.wire_rules import EXPIRED_TOKEN, Exchange, Replace, Rule

ROLE_ARN = "arn:aws:iam::000000000000:role/Copy"
TOKEN_HEADER = "x-amz-security-token"
_REAL_S = 900
_DENIED = b"<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>"
_END = re.compile(rb"<Expiration>[^<]*</Expiration>")
_TOKEN = re.compile(rb"<SessionToken>([^<]*)</SessionToken>")
_SECRETS = re.compile(rb"<(?:SessionToken|SecretAccessKey)>([^<]*)</")
_CONFIG = {
    "sts": {
        "tokenDuration": "1h",
        "maxSessionLength": "12h",
        "issuer": "seaweedfs-sts",
        "signingKey": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
    },
    "policy": {"defaultEffect": "Allow", "storeType": "memory"},
    "policies": [
        {
            "name": "All",
            "document": {
                "Version": "2012-10-17",
                "Statement": [{"Effect": "Allow", "Action": ["*"], "Resource": ["*"]}],
            },
        }
    ],
    "roles": [
        {
            "roleName": "Copy",
            "roleArn": ROLE_ARN,
            "attachedPolicies": ["All"],
            "trustPolicy": {
                "Version": "2012-10-17",
                "Statement": [
                    {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": ["sts:AssumeRole"]}
                ],
            },
        }
    ],
}


class RoleSeaweedServer(SeaweedServer):
    """A SeaweedFS with one role that its identity may assume."""

    def _command(self, port: int, identities: Path) -> list[str | Path]:
        config = self.data_dir / "iam.json"
        config.write_text(json.dumps(_CONFIG))
        return [*super()._command(port, identities), f"-s3.iam.config={config}"]

    def stop(self) -> None:
        """End it at once: if asked to, it waits for ten seconds, and nobody wants its data."""
        self.kill()


@dataclass(frozen=True, kw_only=True, slots=True)
class Keys:
    """Temporary credentials."""

    access_key: str
    secret_key: str
    token: str

    def connection(self, endpoint_url: str, **extra: object) -> str:
        """Return the JSON of an Airflow connection with these very keys."""
        given = {"endpoint_url": endpoint_url, "region_name": "us-east-1"}
        return json.dumps(
            {
                "conn_type": "aws",
                "login": self.access_key,
                "password": self.secret_key,
                "extra": {**given, "aws_session_token": self.token, **extra},
            }
        )


class StsServer:
    """The token service of a running SeaweedFS, with ends of its own.

    ``policies`` say who may do what; as long as there are none, everybody may.

    :param lasts_s: seconds after which the server takes new credentials for expired.
    :param said_s: seconds that the answer says; ``None`` for the truth.
    """

    def __init__(
        self, seaweed: SeaweedServer, *, lasts_s: float, said_s: float | None = None
    ) -> None:
        self.lasts_s = lasts_s
        self.said_s = said_s
        self.faults: list[int] = []
        self.policies: Policies | None = None
        self.refused: list[str] = []
        self.allowed: list[Asked] = []
        self.secrets: list[str] = []
        self._seaweed = seaweed
        self._ends: dict[str, float] = {}
        self._lock = threading.Lock()
        self._server = http.server.ThreadingHTTPServer((LOOPBACK, 0), self._handler())

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://{LOOPBACK}:{self._server.server_port}"

    @property
    def calls(self) -> int:
        """How many credentials were given out."""
        with self._lock:
            return len(self._ends)

    def issue(self) -> Keys:
        """Give out credentials as AssumeRole does."""
        own = self._seaweed.endpoint
        client = boto3.client(
            "sts",
            endpoint_url=self.url,
            region_name=own.region,
            aws_access_key_id=own.access_key,
            aws_secret_access_key=own.secret_key,
            config=Config(retries={"total_max_attempts": 1}),
        )
        given = client.assume_role(RoleArn=ROLE_ARN, RoleSessionName="test")["Credentials"]
        return Keys(
            access_key=given["AccessKeyId"],
            secret_key=given["SecretAccessKey"],
            token=given["SessionToken"],
        )

    def revoke_all(self) -> None:
        """Take what was given out so far for expired."""
        with self._lock:
            self._ends = dict.fromkeys(self._ends, 0.0)

    def is_expired(self, exchange: Exchange) -> bool:
        """Tell whether a request was signed with credentials that have ended."""
        token = exchange.headers.get(TOKEN_HEADER, "")
        with self._lock:
            return self._ends.get(token, 0.0) <= time.monotonic()

    def connection(self, endpoint: S3Endpoint, endpoint_url: str, **extra: object) -> str:
        """Return the JSON of an Airflow connection that assumes the role."""
        return endpoint.through(endpoint_url).airflow_connection(
            role_arn=ROLE_ARN,
            # What AWS gives least.
            assume_role_kwargs={"DurationSeconds": _REAL_S},
            service_config={"sts": {"endpoint_url": self.url}},
            **extra,
        )

    def _answer(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        with self._lock:
            fault = self.faults.pop(0) if self.faults else None
        if fault is not None:
            return fault, b"<ErrorResponse><Error><Code>Fault</Code></Error></ErrorResponse>"
        if not self._allows(body):
            return 403, _DENIED
        parts = urlsplit(self._seaweed.endpoint_url)
        upstream = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
        # Host as it was signed.
        upstream.request("POST", path, body, headers)
        answer = upstream.getresponse()
        text = answer.read()
        upstream.close()
        found = _TOKEN.search(text)
        if found is None:
            return answer.status, text
        said = dt.timedelta(seconds=self.lasts_s if self.said_s is None else self.said_s)
        end = (dt.datetime.now(tz=dt.UTC) + said).isoformat().replace("+00:00", "Z")
        with self._lock:
            self._ends[found[1].decode()] = time.monotonic() + self.lasts_s
            self.secrets += [secret.decode() for secret in _SECRETS.findall(text)]
        return answer.status, _END.sub(f"<Expiration>{end}</Expiration>".encode(), text)

    def _allows(self, body: bytes) -> bool:
        form = parse_qs(body.decode())
        (call,), (role,) = form["Action"], form["RoleArn"]
        asked = Asked(action=f"sts:{call}", bucket="", resource=role)
        allowed = self.policies is None or self.policies.allow(asked)
        with self._lock:
            if allowed:
                self.allowed.append(asked)
            else:
                self.refused.append(asked.action)
        return allowed

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, text = outer._answer(self.path, dict(self.headers), body)
                self.send_response(status)
                self.send_header("Content-Type", "text/xml")
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


def expiry_rules(is_expired: Callable[[Exchange], bool]) -> tuple[Rule, Rule]:
    """Return what a wire answers to expired credentials: S3 says no reason where no body may be."""

    def asks_head(exchange: Exchange) -> bool:
        return exchange.method == "HEAD" and is_expired(exchange)

    def asks_other(exchange: Exchange) -> bool:
        return exchange.method != "HEAD" and is_expired(exchange)

    refused = Replace(status=403, body=EXPIRED_TOKEN)
    return Rule(when=asks_head, action=Replace(status=400)), Rule(when=asks_other, action=refused)
