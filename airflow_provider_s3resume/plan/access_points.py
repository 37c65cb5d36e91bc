"""Access points of Amazon S3, which stand for a bucket by their ARN.

Source: "Referencing access points" and "Multi-Region Access Points" of the Amazon S3 User Guide.
"""

from __future__ import annotations

import re
from typing import Final

from airflow_provider_s3resume.exceptions import InvalidInputError

_ARN: Final = re.compile(
    r"arn:aws[a-z0-9-]*:s3:(?P<region>[a-z0-9-]*):[0-9]{12}:accesspoint[/:]"
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9.\-]{1,62})"
)
_OF_SEVERAL_REGIONS: Final = ".mrap"
_ALIAS_ENDS: Final = ("-s3alias", "--ol-s3")
_ACCEPTED: Final = (
    "'s3://arn:aws:s3:region:account:accesspoint/name/key', or for a Multi-Region Access Point "
    "'s3://arn:aws:s3::account:accesspoint/alias.mrap/key'; those of Outposts and of Object "
    "Lambda are no buckets that can be synced"
)


def is_arn(bucket: str) -> bool:
    """Tell whether what stands for a bucket is an ARN."""
    return bucket.startswith("arn:")


def is_access_point(bucket: str) -> bool:
    """Tell whether what stands for a bucket is an access point: its ARN, or its alias.

    Source: "Bucket naming rules": no bucket's own name ends as an alias does.
    """
    return is_arn(bucket) or bucket.endswith(_ALIAS_ENDS)


def split_arn(rest: str, *, parameter: str) -> tuple[str, str]:
    """Cut what stands behind ``s3://`` into the ARN of an access point and a key.

    :raises InvalidInputError: if it does not begin with such an ARN.
    """
    found = _ARN.match(rest)
    behind = rest[found.end() :] if found else ""
    whole = found is not None and (not behind or behind.startswith("/"))
    if found is None or not whole or bool(found["region"]) is _is_of_several(found["name"]):
        raise InvalidInputError(parameter, found=f"s3://{rest}", accepted=_ACCEPTED)
    return found[0], behind[1:]


def region_of(bucket: str) -> str | None:
    """Return the region that an ARN names, ``None`` for other buckets and for several regions."""
    found = _ARN.fullmatch(bucket)
    return found["region"] or None if found else None


def is_multi_region(bucket: str) -> bool:
    """Tell whether a bucket is a Multi-Region Access Point."""
    found = _ARN.fullmatch(bucket)
    return found is not None and _is_of_several(found["name"])


def _is_of_several(name: str) -> bool:
    return name.endswith(_OF_SEVERAL_REGIONS)
