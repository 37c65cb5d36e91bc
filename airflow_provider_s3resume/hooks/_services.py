"""What is one service, whatever the host that it is reached by."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from airflow_provider_s3resume.storage._oss_settings import service_of_host

_GOV: Final = "us-gov-"
_PARTITIONS: Final = ("amazonaws.com", "amazonaws.com.cn", "amazonaws.eu")
AMAZON: Final = frozenset(
    {*(f"https://s3.{suffix}" for suffix in _PARTITIONS), "https://s3.us-gov-west-1.amazonaws.com"}
)
"""One name for each partition: there, a name of a bucket means one bucket ("Partitions")."""
_NOT_S3: Final = frozenset({"elb", "compute", "compute-1"})
"""Labels of hosts that may be anybody's, such as a gateway behind a load balancer."""


def service_of(endpoint_url: str, region: str | None = None) -> str:
    """Return scheme, host and port; one name for all of Amazon's own endpoints of a partition.

    There, a bucket is the same through whatever region's, VPC's, accelerated, dual-stack or FIPS
    endpoint it is reached. A region of OSS is called what an ``OSSStore`` calls it: these are the
    same buckets.

    :param region: what requests are signed with; some hosts of OSS do not say theirs.
    """
    parts = urlsplit(endpoint_url)
    host = (parts.hostname or "").lower()
    of_amazon = _partition_of(host)
    if of_amazon:
        return of_amazon
    of_oss = service_of_host(host, region)
    if of_oss:
        return of_oss
    default = {"http": 80, "https": 443}.get(parts.scheme)
    port = "" if parts.port in {None, default} else f":{parts.port}"
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}"


def _partition_of(host: str) -> str | None:
    suffix = next((one for one in _PARTITIONS if host.endswith("." + one)), None)
    if suffix is None:
        return None
    labels = host.removesuffix("." + suffix).split(".")
    if _NOT_S3 & set(labels) or not any(one == "s3" or one.startswith("s3-") for one in labels):
        return None
    if any(one.startswith((_GOV, f"s3-{_GOV}", f"s3-fips-{_GOV}")) for one in labels):
        return "https://s3.us-gov-west-1.amazonaws.com"
    return f"https://s3.{suffix}"
