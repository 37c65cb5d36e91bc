"""Signatures of OSS in versions 1, 2, and 4, as the service computes them to compare."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from urllib.parse import quote

from tests.support.oss_messages import Request

ALGORITHM_V4 = "OSS4-HMAC-SHA256"
SCOPE_END = "aliyun_v4_request"
_SUBRESOURCES = """
accessPoint accessPointPolicy acl append asyncFetch bucketArchiveDirectRead bucketInfo callback
callback-var cname comp continuation-token cors delete encryption endTime group httpsConfig
inventory inventoryId lifecycle link live location logging metaQuery objectInfo objectMeta
partNumber policy position publicAccessBlock qos qosInfo qosRequester redundancyTransition
referer regionList replication replicationLocation replicationProgress requestPayment
requesterQosInfo resourceGroup resourcePool resourcePoolBuckets resourcePoolInfo
response-cache-control response-content-disposition response-content-encoding
response-content-language response-content-type response-expires restore security-token
sequential startTime stat status style styleName symlink tagging transferAcceleration uploadId
uploads versionId versioning versions vod website worm wormExtend wormId x-oss-ac-forward-allow
x-oss-ac-source-ip x-oss-ac-subnet-mask x-oss-ac-vpc-id x-oss-access-point-name
x-oss-async-process x-oss-process x-oss-redundancy-transition-taskid x-oss-request-payer
x-oss-target-redundancy-type x-oss-traffic-limit x-oss-write-get-object-response
"""
SIGNED_SUBRESOURCES = frozenset(_SUBRESOURCES.split())
"""The parameters that version 1 signs."""
_URL_SIGNATURES = {"x-oss-signature", "Signature"}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Computed:
    """A signature, and the texts it was made of, which an error answer shows."""

    signature: str
    string_to_sign: bytes
    canonical_request: bytes | None = None


def _resource(request: Request) -> str:
    return f"/{request.bucket}/{request.key}" if request.bucket else "/"


def _lines(headers: Mapping[str, str], extra: Iterable[str] = ()) -> bytes:
    """Return the signed headers: latin-1 gives back the bytes that came over the wire."""
    wanted = set(extra)
    chosen = sorted(
        (name, value)
        for name, value in headers.items()
        if name.startswith("x-oss-") or name in wanted
    )
    return "".join(f"{name}:{value}\n" for name, value in chosen).encode("latin-1")


def _pairs(query: Mapping[str, str]) -> str:
    items = ((quote(name, safe="~"), quote(value, safe="~")) for name, value in query.items())
    return "&".join(f"{name}={value}" if value else name for name, value in sorted(items))


def _unsigned(query: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in query.items() if name not in _URL_SIGNATURES}


def sign_v1(request: Request, secret: str, date: str) -> Computed:
    """Compute version 1; ``date`` is the header's, or the ``Expires`` of a URL."""
    chosen = sorted((k, v) for k, v in request.query.items() if k in SIGNED_SUBRESOURCES)
    query = "&".join(f"{name}={value}" if value else name for name, value in chosen)
    resource = _resource(request) + (f"?{query}" if query else "")
    headers = request.headers
    first = (request.method, headers.get("content-md5", ""), headers.get("content-type", ""), date)
    text = "\n".join([*first, ""]).encode("latin-1") + _lines(headers) + resource.encode()
    digest = hmac.new(secret.encode(), text, hashlib.sha1).digest()
    return Computed(signature=base64.b64encode(digest).decode(), string_to_sign=text)


def sign_v2(request: Request, secret: str, date: str, additional: Iterable[str]) -> Computed:
    """Compute version 2, which signs all of the query and some headers more."""
    names = sorted(additional)
    query = _pairs(_unsigned(request.query))
    resource = quote(_resource(request), safe="~") + (f"?{query}" if query else "")
    headers = request.headers
    first = (request.method, headers.get("content-md5", ""), headers.get("content-type", ""), date)
    text = "\n".join([*first, ""]).encode("latin-1") + _lines(headers, names)
    text += f"{';'.join(names)}\n{resource}".encode()
    digest = hmac.new(secret.encode(), text, hashlib.sha256).digest()
    return Computed(signature=base64.b64encode(digest).decode(), string_to_sign=text)


def sign_v4(
    request: Request, secret: str, *, date: str, region: str, additional: Iterable[str]
) -> Computed:
    """Compute version 4; ``date`` is of the form ``20260102T030405Z``."""
    names = sorted(additional)
    headers = _lines(request.headers, {"content-type", "content-md5", *names})
    payload = request.headers.get("x-oss-content-sha256", "UNSIGNED-PAYLOAD")
    first = (request.method, quote(_resource(request), safe="/~"), _pairs(_unsigned(request.query)))
    canonical = "\n".join([*first, ""]).encode() + headers
    canonical += f"\n{';'.join(names)}\n{payload}".encode()
    day = date[:8]
    scope = (day, region, "oss", SCOPE_END)
    hashed = hashlib.sha256(canonical).hexdigest()
    text = "\n".join([ALGORITHM_V4, date, "/".join(scope), hashed]).encode()
    key = f"aliyun_v4{secret}".encode()
    for step in scope:
        key = hmac.new(key, step.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, text, hashlib.sha256).hexdigest()
    return Computed(signature=signature, string_to_sign=text, canonical_request=canonical)
