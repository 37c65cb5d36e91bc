"""Signature Version 4 of requests whose payload is not signed, at the cost of what changes.

botocore's signer takes longer for one request than all else that a small object needs. What does
not change between two requests (the day's key, the scope) is kept here, and only what does is
computed. botocore remains the judge: :class:`Signer` is used for a bucket only after it has signed
a request of botocore's to the same letter (``_s3_direct``), and the tests compare the two.

Source: "Authenticating Requests: Using the Authorization Header" of the Amazon S3 API reference.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping
from typing import Any, Final

UNSIGNED: Final = "UNSIGNED-PAYLOAD"
UNSIGNED_TRAILED: Final = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_BLOCK: Final = 64
NEVER_SIGNED: Final = frozenset(
    {"authorization", "expect", "transfer-encoding", "user-agent", "x-amzn-trace-id"}
)
"""Headers that proxies change, or that come of the signature; botocore leaves the same ones out."""


def amz_date(now: float) -> str:
    """Return a moment as the header ``X-Amz-Date`` has it."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))


class Signer:
    """Signs requests for one region of one service.

    :param region, service: as in the credential's scope.
    """

    def __init__(self, region: str, service: str) -> None:
        self._region = region
        self._service = service
        # Replaced as a whole: threads see one or the other.
        self._key: tuple[tuple[str, str], str, _Keyed] = (("", ""), "", _Keyed(b""))
        self._moment: tuple[int, str] = (0, "")

    def sign(
        self,
        method: str,
        path: str,
        query: str,
        headers: Mapping[str, str],
        payload: str,
        credentials: Any,  # noqa: ANN401 - botocore's frozen credentials
        at: str | None = None,
    ) -> dict[str, str]:
        """Return the headers that a request needs beside those given.

        :param path: as it is sent, percent-encoded.
        :param query: the same, sorted by name, without a question mark.
        :param headers: all of them, ``host`` included; their names in lower case.
        :param at: the time, as :func:`amz_date` writes it; ``None`` for now.
        """
        moment = at or self.now()
        made = {"x-amz-content-sha256": payload, "x-amz-date": moment}
        if credentials.token:
            made["x-amz-security-token"] = credentials.token
        signed = sorted([(n, v) for n, v in headers.items() if is_signed(n)] + list(made.items()))
        lines = "\n".join([f"{name}:{trimmed(value)}" for name, value in signed])
        names = ";".join([name for name, _ in signed])
        request = f"{method}\n{path}\n{query}\n{lines}\n\n{names}\n{payload}"
        made["authorization"] = self.authorization(request, names, moment, credentials)
        return made

    def authorization(
        self,
        request: str,
        names: str,
        moment: str,
        credentials: Any,  # noqa: ANN401 - as above
    ) -> str:
        """Return the header ``Authorization``.

        :param request: in its canonical form.
        :param names: of the headers that are signed, sorted and joined by semicolons.
        """
        digest = hashlib.sha256(request.encode("utf-8")).hexdigest()
        scope, key = self._scope_and_key(credentials, moment[:8])
        signature = key.sign(f"{_ALGORITHM}\n{moment}\n{scope}\n{digest}".encode())
        return (
            f"{_ALGORITHM} Credential={credentials.access_key}/{scope}, "
            f"SignedHeaders={names}, Signature={signature}"
        )

    def now(self) -> str:
        """Return this moment as the header ``X-Amz-Date`` has it."""
        now = int(time.time())
        known = self._moment
        if known[0] != now:
            known = self._moment = (now, amz_date(now))
        return known[1]

    def _scope_and_key(self, credentials: Any, day: str) -> tuple[str, _Keyed]:  # noqa: ANN401 - as above
        of = credentials.secret_key, day
        known = self._key
        if known[0] != of:
            key = f"AWS4{credentials.secret_key}".encode()
            for step in (day, self._region, self._service, "aws4_request"):
                key = hmac.digest(key, step.encode("utf-8"), "sha256")
            scope = f"{day}/{self._region}/{self._service}/aws4_request"
            known = self._key = (of, scope, _Keyed(key))
        return known[1], known[2]


class _Keyed:
    """HMAC-SHA256 (RFC 2104) with one key, at a third of what ``hmac`` takes.

    The half of it that the key alone decides is done once.
    """

    def __init__(self, key: bytes) -> None:
        block = key.ljust(_BLOCK, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    def sign(self, text: bytes) -> str:
        """Return the hexadecimal code of a text."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(text)
        outer.update(inner.digest())
        return outer.hexdigest()


def is_signed(name: str) -> bool:
    """Tell whether a header of the caller's is signed."""
    return name not in NEVER_SIGNED


def trimmed(value: str) -> str:
    """Return a value as it is signed: without space around it, and with single spaces in it."""
    return value if " " not in value and "\t" not in value else " ".join(value.split())
