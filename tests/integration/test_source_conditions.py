"""Services that do not look at ``If-Match`` must not lead to mixed objects."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_s3resume.exceptions import PreconditionFailedError
from airflow_provider_s3resume.plan.objects import ByteRange
from airflow_provider_s3resume.storage.s3 import S3Store
from tests.conftest import SeaweedPair


def test_c10_an_answer_of_another_object_is_refused_although_if_match_was_ignored(
    seaweed_pair: SeaweedPair, bucket: str
) -> None:
    """The ETag of the answer itself is compared with the one that was meant."""
    client = seaweed_pair.source.client()
    client.create_bucket(Bucket=bucket)
    client.put_object(Bucket=bucket, Key="k", Body=b"first" * 100)
    store = S3Store(client, bucket, service=seaweed_pair.source.endpoint_url)
    identity = store.head("k").identity()

    def ignore(request: Any, **_: Any) -> None:
        del request.headers["If-Match"]

    client.meta.events.register("before-sign.s3.GetObject", ignore)
    part = ByteRange(start=100, stop=200)
    with store.open_range("k", part, identity) as reader:
        assert reader.info.etag == identity.etag
    client.put_object(Bucket=bucket, Key="k", Body=b"other" * 100)
    with pytest.raises(PreconditionFailedError, match="another object by now"):
        store.open_range("k", part, identity)
