"""What every request to a bucket says beside its own parameters, operation by operation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from airflow_provider_s3resume.storage._customer_key import CustomerKey, check_encrypted

_WITHOUT_PAYER: Final = frozenset({"GetBucketLocation", "HeadBucket"})
_WITH_KEY: Final = frozenset(
    {
        "CompleteMultipartUpload",
        "CreateMultipartUpload",
        "GetObject",
        "HeadObject",
        "ListParts",
        "PutObject",
        "UploadPart",
    }
)
"""Operations that take a customer-provided key."""


class Common:
    """The parameters that a connection adds to all calls.

    :param request_payer: the caller pays for what it asks.
    :param bucket_owner: account that the bucket has to belong to; the service refuses others.
    :param customer_key: that objects are encrypted with.
    """

    def __init__(
        self,
        *,
        request_payer: bool = False,
        bucket_owner: str | None = None,
        customer_key: CustomerKey | None = None,
    ) -> None:
        self._payer = {"RequestPayer": "requester"} if request_payer else {}
        self._owner = {"ExpectedBucketOwner": bucket_owner} if bucket_owner else {}
        self._key = customer_key.parameters() if customer_key is not None else {}
        self._plain = {**self._payer, **self._owner}
        self._with_key = {**self._plain, **self._key}

    def of_source(self, bucket_owner: str | None = None) -> Common:
        """Return what the same caller says of a bucket that its service copies from.

        :param bucket_owner: account that this one has to belong to.
        """
        return Common(request_payer=bool(self._payer), bucket_owner=bucket_owner)

    def of(self, operation: str) -> Mapping[str, Any]:
        """Return the parameters for an operation."""
        if operation in _WITH_KEY:
            return self._with_key
        return self._owner if operation in _WITHOUT_PAYER else self._plain

    @property
    def has_key(self) -> bool:
        """Whether requests about an object's content have a customer-provided key."""
        return bool(self._key)

    def check_written(self, answer: Mapping[str, Any], operation: str, subject: str) -> None:
        """Refuse an answer to a write that does not say that the customer's key was used.

        :raises UnsupportedError: in that case.
        """
        if self._key:
            check_encrypted(answer, operation, subject)
