"""Takes out of a text what nobody may read there: credentials, signatures, signed queries (c42)."""

from __future__ import annotations

import re
from typing import Final

_SECRETS: Final = (
    # Name and password in an address, such as a proxy's.
    (re.compile(r"(?i)\b([a-z][a-z0-9+.\-]*://)[^\s/?#@\"'<>]+@"), r"\1…@"),
    # The query of any address: presigned ones carry the signature there.
    (re.compile(r"(https?://[^\s?\"'<>]+)\?[^\s\"'<>]*"), r"\1?…"),
    (
        re.compile(
            # Behind a line break as ``repr`` writes it, too: a service may repeat all of a request.
            r"(?i)(?:\b|(?<=\\n))(x-(?:amz|oss)-(?:signature|credential|security-token|"
            r"(?:copy-source-)?server-side-encryption-customer-key)|SSECustomerKey|signature|"
            r"awsaccesskeyid|ossaccesskeyid|authorization|aws_secret_access_key|"
            r"aws_session_token|security-?token)"
            r"([\"']?\s*[=:]\s*)(?:(?:AWS4|OSS4)-HMAC-SHA256 .*|OSS2? .*|\S+)"
        ),
        r"\1\2…",
    ),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b"), "…"),
    # Alibaba Cloud: access keys of users and of roles, and the tokens of the latter.
    (re.compile(r"\b(?:LTAI[A-Za-z0-9]{8,}|STS\.[A-Za-z0-9]{8,}|CAI[A-Za-z0-9+/]{40,}=*)"), "…"),
)


def redact(text: str) -> str:
    """Return ``text`` without queries of addresses, signatures, keys and tokens."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text
