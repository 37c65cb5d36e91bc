"""What a connection says about Alibaba Cloud OSS, checked when it is read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import urlsplit

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.plan.parts import GIB, KIB, TIB, Limits
from airflow_provider_s3resume.storage._extra import (
    choice,
    connections,
    flag,
    patience,
    seconds,
)
from airflow_provider_s3resume.storage._pace import Patience
from airflow_provider_s3resume.storage.base import Capabilities

Symlinks = Literal["follow", "report"]

_SYMLINKS: Final[dict[str, Symlinks]] = {"follow": "follow", "report": "report"}
# "Regions and endpoints" of OSS: public, internal, old VPC ones, dual stack ones, the accelerators.
_REGION_IN_HOST: Final = (
    re.compile(r"(?:s3\.|vpc100-)?oss-(?!accelerate)([a-z0-9\-]+?)(?:-internal)?\.aliyuncs\.com\Z"),
    re.compile(r"(?:s3\.)?([a-z0-9\-]+?)(?:-internal)?\.oss\.aliyuncs\.com\Z"),
)
_ALIBABA: Final = ".aliyuncs.com"
_PROXY_SCHEMES: Final = frozenset({"http", "https", "socks5", "socks5h"})
# What RFC 3986 ("Uniform Resource Identifier") has in a user's name and password, and the caret.
_USER: Final = re.compile(r"[A-Za-z0-9\-._~!$&'()*+,;=:%^]*")
_PLACE: Final = re.compile(r"(?:[A-Za-z0-9\-._]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?/?")


@dataclass(frozen=True, slots=True, kw_only=True)
class OSSSettings:
    """What the store has to know about its service.

    :param connect_timeout_s: seconds.
    :param read_timeout_s: seconds without a byte.
    :param patience: when a connection is given up that moves bytes, but too few.
    :param connections: most connections kept open by one bucket.
    :param request_payer: send ``x-oss-request-payer: requester`` with every call.
    :param symlinks: ``follow`` lists links as the objects they lead to, ``report`` as hindered.
    :param verify: whether certificates are checked, or a file of the authorities to trust.
    :param proxies: addresses of proxies by scheme (``http``, ``https``); the environment's are
        never used.
    :param is_cname: the endpoint is a domain that leads to this one bucket.
    :param is_path_style: the bucket is named in the path, not in the host.
    :param md5_etags: ETags of objects written in one request are MD5s.
    """

    connect_timeout_s: float = 10.0
    read_timeout_s: float = 60.0
    patience: Patience = field(default_factory=Patience)
    connections: int = 32
    request_payer: bool = False
    symlinks: Symlinks = "follow"
    verify: bool | str = True
    # An address may hold a password.
    proxies: Mapping[str, str] | None = field(default=None, repr=False)
    is_cname: bool = False
    is_path_style: bool = False
    md5_etags: bool = True

    @property
    def capabilities(self) -> Capabilities:
        """What a bucket of OSS can do as a source."""
        return Capabilities(
            ordered_listing=True,
            lists_ranges=True,
            md5_etags=self.md5_etags,
            tags=True,
            reread_for_md5=True,
        )


OSS_LIMITS: Final = Limits(
    min_part_size=100 * KIB,
    max_part_size=5 * GIB,
    max_parts=10_000,
    max_single_put=5 * GIB,
    max_object_size=48 * TIB + 819 * GIB,
    max_key_bytes=1023,
    list_page=1000,
)
"""OSS's numbers ("Limits", "Multipart upload"); the largest object is one of 48.8 TiB."""


def oss_settings_from_extra(extra: Mapping[str, object]) -> OSSSettings:
    """Read the settings from a connection's extra; fields of others are left alone.

    Fields: ``connect_timeout_s``, ``read_timeout_s``, ``connections`` (numbers), ``request_payer``,
    ``is_cname``, ``is_path_style``, ``md5_etags`` (true or false), ``symlinks`` (``follow`` or
    ``report``), ``verify`` (true, false or a file), ``proxies`` (an object of addresses by scheme),
    and those of ``_extra.patience``.

    :raises InvalidInputError: naming the field.
    """
    defaults = OSSSettings()
    return OSSSettings(
        connect_timeout_s=seconds(extra, "connect_timeout_s", defaults.connect_timeout_s),
        read_timeout_s=seconds(extra, "read_timeout_s", defaults.read_timeout_s),
        patience=patience(extra),
        connections=connections(extra, defaults.connections),
        request_payer=flag(extra, "request_payer", default=defaults.request_payer),
        symlinks=choice(extra, "symlinks", _SYMLINKS, defaults.symlinks),
        verify=_verify(extra.get("verify", defaults.verify)),
        proxies=_proxies(extra.get("proxies")),
        is_cname=flag(extra, "is_cname", default=defaults.is_cname),
        is_path_style=flag(extra, "is_path_style", default=defaults.is_path_style),
        md5_etags=flag(extra, "md5_etags", default=defaults.md5_etags),
    )


def _verify(found: object) -> bool | str:
    if isinstance(found, bool) or (isinstance(found, str) and found):
        return found
    accepted = "true, false or the path of a file of certificates"
    raise InvalidInputError("extra.verify", found=found, accepted=accepted)


def _proxies(found: object) -> Mapping[str, str] | None:
    if found is None:
        return None
    if isinstance(found, Mapping) and all(
        isinstance(scheme, str) and isinstance(address, str) and _is_proxy(address)
        for scheme, address in found.items()
    ):
        return dict(found)
    # An address may hold a password, so it is not shown.
    accepted = (
        'an object such as {"https": "http://proxy.example.com:3128"}, with http, https, socks5 or '
        "socks5h, and signs in a password written as %2F and the like"
    )
    raise InvalidInputError("extra.proxies", found=type(found).__name__, accepted=accepted)


def _is_proxy(address: str) -> bool:
    """Tell whether all who read an address find the same host in it, and no part of a password.

    Signs that end a host for one reader, and none for another, would show what is behind them.
    """
    scheme, _, rest = address.partition("://")
    user, _, place = rest.rpartition("@")
    if scheme.lower() not in _PROXY_SCHEMES or not _USER.fullmatch(user):
        return False
    if not _PLACE.fullmatch(place):
        return False
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return False
    return parts.hostname is not None and port != 0


def endpoint_url(endpoint: str) -> str:
    """Return an endpoint as scheme, host and port; without a scheme it is HTTPS.

    :raises InvalidInputError: if it is none, or says more than that.
    """
    full = endpoint.strip()
    full = full if "://" in full else f"https://{full}"
    try:
        parts = urlsplit(full)
        port = parts.port
    except ValueError:
        raise _no_endpoint() from None
    beyond = parts.path.strip("/") or parts.query or parts.fragment or parts.username
    if parts.scheme not in {"http", "https"} or not parts.hostname or beyond:
        raise _no_endpoint()
    return f"{parts.scheme}://{parts.hostname}{f':{port}' if port else ''}"


def _no_endpoint() -> InvalidInputError:
    # What stands there may be a signed address, so it is not shown.
    accepted = "a host such as 'oss-cn-hangzhou.aliyuncs.com', without bucket and path"
    return InvalidInputError("endpoint", found="another text", accepted=accepted)


def service_of(endpoint: str, region: str | None, is_cname: bool = False) -> str:  # noqa: FBT001, FBT002 - as oss2 orders them
    """Return one name for all addresses of one service, as ``ObjectStore.service`` wants it.

    The public, internal, accelerated and dual-stack endpoints of a region reach the same buckets,
    and so does a domain of the user's own. What a host says of its region is what counts.

    :param region: such as ``cn-hangzhou``, if it is known otherwise than from the endpoint.
    :param is_cname: the endpoint is a domain of the user's own.
    :raises InvalidInputError: if the endpoint is none.
    """
    url = endpoint_url(endpoint)
    host = urlsplit(url).hostname or ""
    if is_cname and region and not host.endswith(_ALIBABA):
        return _name_of(region)
    return service_of_host(host, region) or url


def service_of_host(host: str, region: str | None) -> str | None:
    """Return the name of the service behind a host of Alibaba Cloud's, ``None`` for another host.

    So it is for hosts that speak the S3 API too: these are the same buckets.

    :param region: the region, if the host does not say.
    """
    bare = host.lower().removesuffix(".")
    if not bare.endswith(_ALIBABA):
        return None
    told = next((found[1] for rule in _REGION_IN_HOST if (found := rule.match(bare))), None)
    known = told or region
    return _name_of(known) if known else None


def _name_of(region: str) -> str:
    return f"https://oss-{region.lower().removeprefix('oss-')}{_ALIBABA}"
