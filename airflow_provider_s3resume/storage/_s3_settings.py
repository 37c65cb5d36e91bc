"""What a connection says about its S3 service, checked when it is read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Final

from botocore import UNSIGNED

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.plan.digests import ChecksumAlgorithm
from airflow_provider_s3resume.plan.parts import Limits
from airflow_provider_s3resume.storage._customer_key import FIELD, CustomerKey
from airflow_provider_s3resume.storage._extra import (
    choice,
    connections,
    count,
    flag,
    patience,
    seconds,
)
from airflow_provider_s3resume.storage._pace import Patience
from airflow_provider_s3resume.storage.base import Capabilities
from airflow_provider_s3resume.storage.presets import AMAZON_S3

_CHECKSUMS: Final[dict[str, tuple[ChecksumAlgorithm, ...]]] = {
    "crc64nvme": (ChecksumAlgorithm.CRC64NVME, ChecksumAlgorithm.MD5),
    "crc32c": (ChecksumAlgorithm.CRC32C, ChecksumAlgorithm.MD5),
    "crc32": (ChecksumAlgorithm.CRC32, ChecksumAlgorithm.MD5),
    "md5": (ChecksumAlgorithm.MD5,),
    "none": (),
}
_ADDRESSING: Final = ("auto", "path", "virtual")
_ACCOUNT: Final = re.compile(r"[0-9]{12}")


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Settings:
    """What the store has to know about its service; the defaults are Amazon S3's.

    :param request_payer: send ``x-amz-request-payer: requester`` with every call.
    :param payload_signing: sign the SHA-256 of every body. Without it a body is protected by its
        checksum header, which is signed; the SHA-256 costs more than everything else together.
    :param addressing_style: ``auto``, ``path`` or ``virtual``.
    :param connect_timeout_s: seconds.
    :param read_timeout_s: seconds without a byte.
    :param patience: when a connection is given up that moves bytes, but too few.
    :param direct: objects' bytes are moved by connections of our own, where they can be; without it
        botocore moves them, at several times the processor time.
    :param connections: most connections kept open by one client.
    :param expected_bucket_owner: account that the bucket has to belong to.
    :param customer_key: that objects are encrypted with; the service does not keep it.
    :param unsigned: requests are not signed, as public buckets allow it.
    :param accelerate, dual_stack, fips: which of Amazon S3's endpoints is used.
    """

    capabilities: Capabilities = AMAZON_S3
    limits: Limits = field(default_factory=Limits)
    request_payer: bool = False
    payload_signing: bool = False
    direct: bool = True
    addressing_style: str = "auto"
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 60.0
    patience: Patience = field(default_factory=Patience)
    connections: int = 32
    expected_bucket_owner: str | None = None
    customer_key: CustomerKey | None = field(default=None, repr=False)
    unsigned: bool = False
    accelerate: bool = False
    dual_stack: bool = False
    fips: bool = False


def store_settings_from_extra(extra: Mapping[str, object]) -> S3Settings:
    """Read the settings from a connection's extra; fields of others are left alone.

    Fields: ``list_order`` (``bytes`` or ``unordered``), ``key_folding``, ``checksums``
    (``crc64nvme``, ``crc32c``, ``crc32``, ``md5``, ``none``), ``full_object_checksum``,
    ``conditional_writes``, ``part_layout``, ``md5_etags``, ``object_tags``, ``stream_parts``,
    ``request_payer``, ``payload_signing``, ``direct`` (all true or false), ``limits`` (an object
    with the fields of ``Limits``), ``addressing_style``, ``connect_timeout_s``, ``read_timeout_s``,
    ``connections``, ``expected_bucket_owner``, ``sse_c_secret_key``, ``unsigned``,
    ``use_accelerate_endpoint``, ``use_dualstack_endpoint``, ``use_fips_endpoint``, and those of
    ``_extra.patience``.

    :raises InvalidInputError: naming the field.
    """
    defaults = S3Settings()
    return S3Settings(
        capabilities=_capabilities(extra),
        limits=_limits(extra.get("limits")),
        request_payer=flag(extra, "request_payer", default=defaults.request_payer),
        payload_signing=flag(extra, "payload_signing", default=defaults.payload_signing),
        direct=flag(extra, "direct", default=defaults.direct),
        addressing_style=choice(extra, "addressing_style", {s: s for s in _ADDRESSING}, "auto"),
        connect_timeout_s=seconds(extra, "connect_timeout_s", defaults.connect_timeout_s),
        read_timeout_s=seconds(extra, "read_timeout_s", defaults.read_timeout_s),
        patience=patience(extra),
        connections=connections(extra, defaults.connections),
        expected_bucket_owner=_owner(extra.get("expected_bucket_owner")),
        customer_key=CustomerKey.parse(extra[FIELD]) if extra.get(FIELD) else None,
        unsigned=flag(extra, "unsigned", default=False),
        accelerate=flag(extra, "use_accelerate_endpoint", default=False),
        dual_stack=flag(extra, "use_dualstack_endpoint", default=False),
        fips=flag(extra, "use_fips_endpoint", default=False),
    )


def _owner(found: object) -> str | None:
    if found is None or (isinstance(found, str) and _ACCOUNT.fullmatch(found)):
        return found
    # A number would have lost the zeros that it begins with.
    accepted = "the 12 digits of an AWS account's id, as a text"
    raise InvalidInputError("extra.expected_bucket_owner", found=found, accepted=accepted)


def _capabilities(extra: Mapping[str, object]) -> Capabilities:
    base = AMAZON_S3
    checksums, named = base.part_checksums, extra.get("checksums")
    if named is not None:
        checksums = choice(extra, "checksums", _CHECKSUMS, "crc64nvme")
    conditional = flag(extra, "conditional_writes", default=True)
    return replace(
        base,
        ordered_listing=choice(extra, "list_order", {"bytes": True, "unordered": False}, "bytes"),
        folds_keys=flag(extra, "key_folding", default=base.folds_keys),
        part_checksums=checksums,
        full_object_checksum=flag(
            extra, "full_object_checksum", default=named in {None, "crc64nvme"}
        ),
        conditional_put=conditional,
        conditional_complete=conditional,
        part_layout=flag(extra, "part_layout", default=base.part_layout),
        md5_etags=flag(extra, "md5_etags", default=base.md5_etags),
        tags=flag(extra, "object_tags", default=base.tags),
        streams_parts=flag(extra, "stream_parts", default=base.streams_parts),
        streams_objects=flag(extra, "stream_parts", default=base.streams_objects),
    )


def _limits(given: object) -> Limits:
    if given is None:
        return Limits()
    names = [f.name for f in fields(Limits)]
    if not isinstance(given, Mapping) or not set(given) <= set(names):
        raise InvalidInputError(
            "extra.limits", found=given, accepted=f"an object with some of {', '.join(names)}"
        )
    limits = Limits(**{name: count(given, name, 1, of="limits.") for name in given})
    if limits.min_part_size > limits.max_part_size:
        raise InvalidInputError(
            "extra.limits.min_part_size",
            found=limits.min_part_size,
            accepted=f"at most max_part_size ({limits.max_part_size})",
        )
    return limits


def client_config(settings: S3Settings) -> dict[str, object]:
    """Return the keyword arguments of ``botocore.config.Config`` that the store needs.

    One attempt per call, because ``storage.layers.Retrying`` repeats them; no checksums of
    botocore's own, because ours travel with each call.
    """
    asked = {
        "use_dualstack_endpoint": settings.dual_stack,
        "use_fips_endpoint": settings.fips,
        "signature_version": UNSIGNED if settings.unsigned else None,
    }
    accelerated = {"use_accelerate_endpoint": True} if settings.accelerate else {}
    return {
        **{name: value for name, value in asked.items() if value},
        "retries": {"total_max_attempts": 1, "mode": "standard"},
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
        "max_pool_connections": settings.connections,
        "connect_timeout": settings.connect_timeout_s,
        "read_timeout": settings.read_timeout_s,
        "tcp_keepalive": True,
        "s3": {
            "addressing_style": settings.addressing_style,
            "payload_signing_enabled": settings.payload_signing,
            **accelerated,
        },
    }
