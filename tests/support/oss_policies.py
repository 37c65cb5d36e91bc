"""RAM policies at the OSS test server: what an identity is not allowed is refused.

The actions are those that Alibaba Cloud's documentation names for each call ("RAM policy").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from tests.support.iam import Asked, Policies
from tests.support.oss_messages import Request, access_denied

if TYPE_CHECKING:
    from tests.support.oss_server import Seen

_ACTIONS = {
    "GetObjectMeta": "oss:GetObject",
    "HeadObject": "oss:GetObject",
    "ListObjectsV2": "oss:ListObjects",
}
_OWNER = "acs:oss:oss-cn-hangzhou:1234567890"


class Limits:
    """What identities may do; one that is not named here may do everything."""

    def __init__(self) -> None:
        self._policies: dict[str | None, Policies] = {}

    def set(self, access_key_id: str, documents: Iterable[Mapping[str, Any]]) -> None:
        """Let an identity do what these policies allow from now on, and nothing else."""
        self._policies[access_key_id] = Policies(documents)

    def check(self, request: Request) -> None:
        """Return if the caller may do this; an OSSError if not."""
        policies = self._policies.get(request.caller.access_key_id)
        if policies is not None and not policies.allow(asked_by(request)):
            raise access_denied("You are not authorized by RAM policy.", ec="0003-00000001")


def asked_by(request: Request | Seen) -> Asked:
    """Return what a request needs to be allowed."""
    action = _ACTIONS.get(request.operation, f"oss:{request.operation}")
    versioned = request.key and "versionId" in request.query
    prefix = request.query.get("prefix")
    key = f"/{request.key}" if request.key else ""
    return Asked(
        action=action.replace("Object", "ObjectVersion") if versioned else action,
        bucket=request.bucket,
        resource=f"{_OWNER}:{request.bucket}{key}",
        context={"oss:Prefix": prefix} if prefix and not request.key else {},
    )
