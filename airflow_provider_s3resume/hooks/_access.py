"""Fields of a connection that cannot be meant together, refused before anything is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.plan.access_points import is_multi_region

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_s3resume.hooks._connections import Facts

SECRET_KEY: Final = "sse_c_secret_key"  # noqa: S105 - the name of a field
ENDPOINTS: Final = ("use_accelerate_endpoint", "use_dualstack_endpoint", "use_fips_endpoint")
"""Which of Amazon S3's own endpoints are used."""
_CREDENTIALS: Final = (
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_session_token",
    "profile_name",
    "role_arn",
)


def check_access_fields(facts: Facts) -> None:
    """Refuse what contradicts itself.

    :raises InvalidInputError: naming the connection and the field.
    """
    settings, endpoint = facts.settings, _endpoint_of(facts.extra)
    if settings.get("unsigned") is True and _has_credentials(facts):
        raise InvalidInputError(
            f"extra 'unsigned' of {facts.subject}",
            found="true, beside credentials",
            accepted="one of the two: requests to public buckets are not signed, others are",
        )
    named = [name for name in ENDPOINTS if settings.get(name) is True]
    if named and endpoint is not None:
        raise InvalidInputError(
            f"extra {named[0]!r} of {facts.subject}",
            found=f"true, beside the endpoint {endpoint}",
            accepted="no endpoint: it chooses one of Amazon S3's own",
        )
    if settings.get(SECRET_KEY) and (endpoint or "").startswith("http://"):
        raise InvalidInputError(
            f"extra {SECRET_KEY!r} of {facts.subject}",
            found=f"a key, and the endpoint {endpoint}, which it would be sent to in the clear",
            accepted="an endpoint that begins with https://",
        )


def _has_credentials(facts: Facts) -> bool:
    return bool(facts.login or facts.password or any(facts.extra.get(n) for n in _CREDENTIALS))


def _endpoint_of(extra: Mapping[str, Any]) -> str | None:
    services = extra.get("service_config")
    own = services.get("s3") if isinstance(services, dict) else None
    named = (own.get("endpoint_url") if isinstance(own, dict) else None) or extra.get(
        "endpoint_url"
    )
    return str(named) if named else None


def check_signable(bucket: str, subject: str) -> None:
    """Refuse a Multi-Region Access Point where nothing here can sign requests to it.

    They are signed for all regions at once, by an algorithm (SigV4A) that botocore leaves to
    ``awscrt``.

    :raises InvalidInputError: naming what is missing.
    """
    if not is_multi_region(bucket) or _signs_for_all_regions():
        return
    raise InvalidInputError(
        f"bucket of {subject}",
        found=f"the Multi-Region Access Point {bucket}, and no 'awscrt' to sign requests to it",
        accepted="an access point of one region, or a worker with the package 'botocore[crt]'",
    )


def _signs_for_all_regions() -> bool:
    from botocore.compat import HAS_CRT  # noqa: PLC0415 - at DAG parse

    return bool(HAS_CRT)
