"""A key that the service encrypts with and does not keep: every request about an object brings it.

It is a secret (c42): it is in no text of ours, and is taken out of what the SDK logs.
Source: "Using server-side encryption with customer-provided keys (SSE-C)".
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from airflow_provider_s3resume.exceptions import InvalidInputError, UnsupportedError

FIELD: Final = "sse_c_secret_key"
_ALGORITHM: Final = "AES256"
_BYTES: Final = 32
_LOGGERS: Final = ("boto3", "botocore", "urllib3")
_MARK: Final = b"airflow_provider_s3resume: which key"


@dataclass(frozen=True, slots=True)
class CustomerKey:
    """A customer-provided key.

    :param encoded: base64 of its 32 bytes.
    """

    encoded: str = field(repr=False)

    @classmethod
    def parse(cls, given: object) -> CustomerKey:
        """Read a key as it stands in a connection.

        :raises InvalidInputError: if it is none; the text is not repeated.
        """
        raw = _decoded(str(given).strip())
        if len(raw) != _BYTES:
            found = "another text (it is not repeated here: it may be a secret)"
            accepted = f"base64 of {_BYTES} bytes, such as `openssl rand -base64 {_BYTES}` gives"
            raise InvalidInputError(f"extra.{FIELD}", found=found, accepted=accepted)
        return cls(base64.b64encode(raw).decode("ascii"))

    @property
    def _raw(self) -> bytes:
        return base64.b64decode(self.encoded)

    @property
    def mark(self) -> str:
        """What tells this key from others, and does not help to find it."""
        return hmac.digest(self._raw, _MARK, "sha256").hex()[:16]

    def parameters(self) -> dict[str, str]:
        """Return the parameters of a request; with the MD5 given, botocore encodes nothing."""
        digest = hashlib.md5(self._raw, usedforsecurity=False).digest()
        return {
            "SSECustomerAlgorithm": _ALGORITHM,
            "SSECustomerKey": self.encoded,
            "SSECustomerKeyMD5": base64.b64encode(digest).decode("ascii"),
        }

    def keep_out_of_logs(self) -> None:
        """Take the key out of what the SDK says of its requests at the level of debugging.

        It says so at the loggers of its modules, and filters hold for the logger alone that they
        are added to. One filter for each key: records of other levels never come here.
        """
        hidden = _Hidden(self.encoded)
        for name in list(logging.root.manager.loggerDict):
            if name.partition(".")[0] in _LOGGERS:
                logger = logging.getLogger(name)
                if hidden not in logger.filters:
                    logger.addFilter(hidden)


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return b""


class _Hidden(logging.Filter):
    """Lets every record pass, without a secret."""

    def __init__(self, secret: str) -> None:
        super().__init__()
        self._secret = secret

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Hidden) and other._secret == self._secret

    def __hash__(self) -> int:
        return hash(self._secret)

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if self._secret in text:
            record.msg, record.args = text.replace(self._secret, "…"), ()
        return True


def check_encrypted(answer: Mapping[str, Any], operation: str, subject: str) -> None:
    """Refuse an answer that does not say that the key was used (c19).

    :raises UnsupportedError: in that case.
    """
    if answer.get("SSECustomerAlgorithm") != _ALGORITHM:
        detail = (
            f"a customer-provided key was sent, and the answer does not say that it was used; take "
            f"{FIELD} out of the connection, or use a service that has such keys"
        )
        raise UnsupportedError(operation, subject, detail)
