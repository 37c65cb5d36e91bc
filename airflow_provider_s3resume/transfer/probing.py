"""Whether a service does what its connection says: asked once a day, with a record of our own.

A service that takes a condition or a checksum and does not look at it answers as one that does
(c18). Many do so, and no listing of features tells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_s3resume.exceptions import (
    DigestRejectedError,
    InvalidInputError,
    ManifestError,
    PreconditionFailedError,
    UnsupportedError,
)
from airflow_provider_s3resume.plan.manifest import dumps, loads
from airflow_provider_s3resume.storage.base import Condition, NewUpload
from airflow_provider_s3resume.transfer.hashing import checksum_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_s3resume.plan.digests import Checksum
    from airflow_provider_s3resume.storage.base import ObjectStore
    from airflow_provider_s3resume.transfer.state import StateLocation

PROBED = "probed.json"
_AGAIN_AFTER_S = 86_400.0
_BODY = b'{"probe":true}'


def check_promises(state: StateLocation, name: str, *, now: float) -> None:
    """Make sure that the state location's service honours what its connection says it honours.

    The retry layer repeats a write that was refused for its checksum, some seconds in all: hence
    what was found is kept for a day.

    :param name: of a record that is there, and whose content does not matter.
    :param now: seconds since the epoch.
    :raises InvalidInputError: naming the connection's field to change.
    """
    capabilities = state.store.capabilities
    algorithm = next(iter(capabilities.part_checksums), None)
    asked = {
        "conditional_writes": capabilities.conditional_put,
        "checksums": algorithm.value if algorithm else None,
    }
    if _asked_lately(state, asked, now):
        return
    if capabilities.conditional_put and not _refuses(state, name, Condition(absent=True), None):
        raise InvalidInputError(
            f"extra 'conditional_writes' of the connection of {state.store.service}",
            found="true, and a service that writes over an object in spite of If-None-Match",
            accepted="false: then nothing relies on conditions, and the report says 'unprotected'",
        )
    if algorithm and not _refuses(state, name, None, checksum_of(algorithm, _BODY + b" ")):
        raise InvalidInputError(
            f"extra 'checksums' of the connection of {state.store.service}",
            found=f"{algorithm.value}, and a service that takes bytes with a wrong checksum",
            accepted="another that it looks at, such as 'md5', or 'none'",
        )
    state.write_text(PROBED, dumps({**asked, "at": now}))


def check_provable(target: ObjectStore) -> None:
    """Refuse a target of which no copy could ever be proven (c18), before anything is written.

    :raises InvalidInputError: naming the connection's fields to change.
    """
    capabilities = target.capabilities
    if capabilities.part_checksums or capabilities.md5_etags:
        return
    raise InvalidInputError(
        f"extra 'checksums' and 'md5_etags' of the connection of {target.service}",
        found="'none' and false: nothing would tell what arrived, and every verification would "
        "fail",
        accepted="checksums that the service looks at, such as 'md5' (Content-MD5, which nearly "
        "all do), or md5_etags true where its ETags are MD5s",
    )


def _asked_lately(state: StateLocation, asked: Mapping[str, object], now: float) -> bool:
    text = state.read_text(PROBED)
    try:
        known = loads(text, what="record of a probe") if text else {}
    except ManifestError:
        return False
    at = known.pop("at", None)
    return known == asked and isinstance(at, float | int) and 0 <= now - at < _AGAIN_AFTER_S


def _refuses(
    state: StateLocation, name: str, condition: Condition | None, checksum: Checksum | None
) -> bool:
    """Tell whether a write that must be refused is refused, and for that very reason."""
    try:
        state.store.put_object(
            state.prefix + name,
            _BODY,
            upload=NewUpload(),
            checksum=checksum,
            condition=condition,
        )
    except PreconditionFailedError:
        return condition is not None
    except DigestRejectedError:
        return checksum is not None
    except UnsupportedError:
        return False
    return False
