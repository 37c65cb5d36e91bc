"""Where a connection to OSS points at: endpoint, region, and how requests are signed for it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.hooks._reading import checked_endpoint

ADDRESS_FIELDS = frozenset({"accelerate", "endpoint", "internal", "region", "signature_version"})
SIGNATURES = ("v4", "v1")
_ACCELERATED = {
    True: "https://oss-accelerate.aliyuncs.com",
    "overseas": "https://oss-accelerate-overseas.aliyuncs.com",
}
"""Endpoints that are in no region ("Transfer acceleration")."""
_ADDRESS = "scheme, host and port, such as 'https://oss-cn-hangzhou.aliyuncs.com'"
_HOST_AND_PORT = re.compile(r"[A-Za-z0-9_.\-]+(:\d+)?\Z")
_REGION = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*\Z")
# Beneath public and internal endpoints, those of old VPCs, and dual stack ones.
_BUCKET_HOST = re.compile(
    r"([^.]+)\.((?:vpc100-)?oss-[a-z0-9-]+\.aliyuncs\.com|[a-z0-9-]+\.oss\.aliyuncs\.com)\Z"
)
_REGIONAL_HOST = re.compile(
    r"oss-(?P<plain>(?!accelerate)[a-z0-9-]+?)(-internal)?\.aliyuncs\.com\Z"
    r"|(?P<dual>[a-z0-9-]+)\.oss\.aliyuncs\.com\Z"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where requests go.

    :param endpoint: scheme, host and port; without the bucket, unless it is a CNAME.
    :param region: such as ``cn-hangzhou``; ``None`` only with signatures of version 1.
    """

    endpoint: str
    region: str | None
    signature_version: str


def read_address(
    said: Mapping[str, Any], host: str | None, port: int | None, subject: str
) -> Address:
    """Return where to go: the endpoint if one is named, else the region's own.

    :param said: the fields of the connection's extra.
    :raises InvalidInputError: naming the field.
    """
    version = said.get("signature_version", SIGNATURES[0])
    if version not in SIGNATURES:
        accepted = " or ".join(repr(known) for known in SIGNATURES)
        raise _invalid("signature_version", subject, version, accepted)
    region = _region(said.get("region"), subject)
    if region is None and version == "v4":
        accepted = (
            "the bucket's region, such as 'cn-hangzhou', which a signature of version 4 names (or "
            "signature_version 'v1')"
        )
        raise _invalid("region", subject, None, accepted)
    endpoint = _named(said, host, port, subject) or _chosen(said, region, subject)
    return Address(endpoint=endpoint, region=region, signature_version=version)


def _region(found: object, subject: str) -> str | None:
    if found is None:
        return None
    if not isinstance(found, str) or not _REGION.match(found):
        raise _invalid("region", subject, found, "a region such as 'cn-hangzhou'")
    if found.startswith("oss-"):
        accepted = f"the region's name; write {found.removeprefix('oss-')!r}"
        raise _invalid("region", subject, found, accepted)
    return found


def _named(said: Mapping[str, Any], host: str | None, port: int | None, subject: str) -> str | None:
    """Return the endpoint that the connection names, in the extra or as its host."""
    given, field = said.get("endpoint"), f"endpoint of {subject}"
    if given is None and host:
        given, field = host, f"host of {subject}"
        if port and not re.search(r":\d+/?\Z", host):
            given = f"{host.rstrip('/')}:{port}"
    if given is None:
        return None
    flags = [name for name in ("internal", "accelerate") if said.get(name)]
    if flags:
        accepted = "either an endpoint, or one that is chosen from the region"
        raise _invalid(flags[0], subject, "true beside an endpoint", accepted)
    # The alibaba provider takes an endpoint without a scheme; the SDK would take http for it.
    bare = isinstance(given, str) and "://" not in given
    parts = checked_endpoint(f"https://{given}" if bare else given, field, accepted=_ADDRESS)
    if parts.path not in {"", "/"} or not _HOST_AND_PORT.match(parts.netloc):
        found = "an address with more than scheme, host and port, or of IPv6"
        raise InvalidInputError(field, found=found, accepted=_ADDRESS)
    if not said.get("is_cname"):
        _check_host(parts.hostname or "", field)
        _check_same_region(parts.hostname or "", said.get("region"), subject)
    return f"{parts.scheme}://{parts.netloc}"


def _check_host(host: str, field: str) -> None:
    """Refuse hosts of OSS that are no endpoints of it."""
    bucket_host = _BUCKET_HOST.match(host)
    if bucket_host is None:
        return
    if bucket_host[1] == "s3":
        accepted = (
            f"'https://{bucket_host[2]}'; the S3-compatible endpoint is for connections of type "
            "'aws' or 's3resume' and s3:// URIs"
        )
    else:
        accepted = f"the endpoint without a bucket, 'https://{bucket_host[2]}'"
    raise InvalidInputError(field, found=host, accepted=accepted)


def _check_same_region(host: str, region: object, subject: str) -> None:
    """Refuse a region that is not that of an endpoint which names its own."""
    found = _REGIONAL_HOST.match(host)
    named = found and (found["plain"] or found["dual"])
    if region is not None and named and named != region:
        accepted = f"{named!r}, the region of the endpoint {host}"
        raise _invalid("region", subject, region, accepted)


def _chosen(said: Mapping[str, Any], region: str | None, subject: str) -> str:
    """Return the endpoint that region and flags choose; TLS always."""
    internal, accelerate = said.get("internal", False), _accelerate(said, subject)
    if not isinstance(internal, bool):
        raise _invalid("internal", subject, internal, "true or false")
    if said.get("is_cname"):
        accepted = "the host name that the bucket has, as is_cname is set"
        raise _invalid("endpoint", subject, None, accepted)
    if accelerate:
        if internal:
            raise _invalid("internal", subject, "true beside accelerate", "one of the two")
        return _ACCELERATED[accelerate]
    if region is None:
        accepted = "an endpoint, or the region that it is chosen from"
        raise _invalid("endpoint", subject, None, accepted)
    return f"https://oss-{region}{'-internal' if internal else ''}.aliyuncs.com"


def _accelerate(said: Mapping[str, Any], subject: str) -> bool | str:
    words: dict[object, bool | str] = {"true": True, "false": False, "overseas": "overseas"}
    found = said.get("accelerate", False)
    chosen = words.get(found.lower()) if isinstance(found, str) else found
    if not isinstance(chosen, bool | str):
        raise _invalid("accelerate", subject, found, "true, false or 'overseas'")
    return chosen


def _invalid(name: str, subject: str, found: object, accepted: str) -> InvalidInputError:
    return InvalidInputError(f"extra {name!r} of {subject}", found=found, accepted=accepted)
