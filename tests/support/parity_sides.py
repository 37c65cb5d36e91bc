"""Buckets as the services' own SDKs see them: what is put in, and what is read back.

Nothing here uses the provider: what it did is judged by boto3, oss2 and hashlib.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from email.header import decode_header, make_header
from typing import TYPE_CHECKING, Any, Protocol

import oss2

from tests.support.demo_data import put_multipart

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

    from tests.support.endpoints import S3Endpoint
    from tests.support.oss_server import OSSServer

_COMPARED = (
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "expires",
)
_METADATA = ("x-amz-meta-", "x-oss-meta-")
_READ = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """An object as it was read back: its bytes, the headers that are content, and its tags."""

    size: int
    sha256: str
    headers: Mapping[str, str]
    tags: Mapping[str, str] = field(default_factory=dict)


class Side(Protocol):
    """A bucket that is read from, or written to."""

    bucket: str

    def uri(self, prefix: str = "") -> str:
        """Return the URI of a prefix."""

    def connection(self, through: str | None = None) -> str:
        """Return an Airflow connection to it as JSON.

        :param through: address of a wire in front of the server.
        """

    def all_keys(self) -> list[str]:
        """Return all keys."""

    def read(self, key: str) -> Found:
        """Read an object to its end."""


class S3Side:
    """A new bucket of an S3 server.

    :param extra: what a connection has to say about the service.
    """

    def __init__(
        self, endpoint: S3Endpoint, client: S3Client, bucket: str, extra: Mapping[str, object]
    ) -> None:
        self.endpoint = endpoint
        self.client = client
        self.bucket = bucket
        self.extra = dict(extra)
        self.asked: dict[str, Any] = {}
        """What goes with every request of the SDK about an object's content."""
        client.create_bucket(Bucket=bucket)

    def uri(self, prefix: str = "") -> str:
        """Return the URI of a prefix."""
        return f"s3://{self.bucket}/{prefix}"

    def connection(self, through: str | None = None) -> str:
        """Return an Airflow connection to it as JSON."""
        endpoint = self.endpoint if through is None else self.endpoint.through(through)
        return endpoint.airflow_connection(s3resume=self.extra)

    def put(self, key: str, body: bytes = b"", **parameters: Any) -> None:
        """Put an object in one request."""
        self.client.put_object(Bucket=self.bucket, Key=key, Body=body, **self.asked, **parameters)

    def put_parts(self, key: str, parts: Sequence[bytes], **parameters: Any) -> None:
        """Put an object in exactly these parts."""
        if not parameters and not self.asked:
            put_multipart(self.client, self.bucket, key, list(parts))
            return
        place: dict[str, Any] = {"Bucket": self.bucket, "Key": key, **self.asked}
        upload = self.client.create_multipart_upload(**place, **parameters)["UploadId"]
        done: list[Any] = []
        for number, body in enumerate(parts, 1):
            answer = self.client.upload_part(**place, UploadId=upload, PartNumber=number, Body=body)
            done.append({"PartNumber": number, "ETag": answer["ETag"]})
        self.client.complete_multipart_upload(
            **place, UploadId=upload, MultipartUpload={"Parts": done}
        )

    def all_keys(self) -> list[str]:
        """Return all keys."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        return [entry["Key"] for page in pages for entry in page.get("Contents", ())]

    def read(self, key: str, version_id: str | None = None) -> Found:
        """Read an object to its end."""
        chosen: dict[str, Any] = {} if version_id is None else {"VersionId": version_id}
        answer = self.client.get_object(Bucket=self.bucket, Key=key, **chosen, **self.asked)
        tags = self.client.get_object_tagging(Bucket=self.bucket, Key=key, **chosen)["TagSet"]
        size, sha256 = _drained(answer["Body"].iter_chunks(_READ))
        return Found(
            size=size,
            sha256=sha256,
            headers=_compared(answer["ResponseMetadata"]["HTTPHeaders"]),
            tags={tag["Key"]: tag["Value"] for tag in tags},
        )

    def head(self, key: str) -> dict[str, Any]:
        """Return the answer to a HEAD."""
        return dict(self.client.head_object(Bucket=self.bucket, Key=key, **self.asked))

    def etag(self, key: str) -> str:
        """Return an object's ETag, without quotes."""
        return str(self.head(key)["ETag"]).strip('"')

    def written(self) -> dict[str, tuple[Any, str]]:
        """Return when each object was written, and its ETag."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        entries = [entry for page in pages for entry in page.get("Contents", ())]
        return {one["Key"]: (one["LastModified"], one["ETag"]) for one in entries}

    def uploads(self) -> list[str]:
        """Return the ids of the unfinished uploads."""
        found = self.client.list_multipart_uploads(Bucket=self.bucket)
        return [upload["UploadId"] for upload in found.get("Uploads", ())]


class OSSSide:
    """A new bucket of the OSS test server.

    ``state`` puts objects that no client could, ``sdk`` those that the SDK can.
    """

    def __init__(self, server: OSSServer, bucket: str) -> None:
        self.bucket = bucket
        self.state = server.state
        self.sdk = server.endpoint.bucket(bucket)
        self.extra: dict[str, object] = {}
        """More for the connection."""
        self._endpoint = server.endpoint
        server.state.create_bucket(bucket)

    def uri(self, prefix: str = "") -> str:
        """Return the URI of a prefix."""
        return f"oss://{self.bucket}/{prefix}"

    def connection(self, through: str | None = None) -> str:
        """Return an Airflow connection to it as JSON."""
        found = self._endpoint
        place = {"region": found.region, "endpoint": through or found.endpoint_url}
        known = {"login": found.access_key_id, "password": found.access_key_secret}
        return json.dumps({"conn_type": "oss", **known, "extra": {**place, **self.extra}})

    def sign_as(self, access_key_id: str, secret: str) -> None:
        """Let connections have another identity of the server than the SDK here has."""
        self._endpoint = replace(
            self._endpoint, access_key_id=access_key_id, access_key_secret=secret
        )

    def put(self, key: str, body: bytes = b"", **headers: str) -> None:
        """Put an object by the SDK; ``content_type`` stands for ``content-type``."""
        # The SDK sends text as Latin-1; OSS means UTF-8.
        named = {name.replace("_", "-"): text.encode() for name, text in headers.items()}
        self.sdk.put_object(key, body, headers=named)

    def all_keys(self) -> list[str]:
        """Return all keys."""
        return [entry.key for entry in oss2.ObjectIteratorV2(self.sdk, max_keys=1000)]

    def read(self, key: str, version_id: str | None = None) -> Found:
        """Read an object to its end; of a link, what it leads to."""
        chosen = {} if version_id is None else {"versionId": version_id}
        answer = self.sdk.get_object(key, params=chosen)
        # As stored: the SDK would unpack what says that it is encoded.
        raw = answer.resp.response.raw
        size, sha256 = _drained(iter(lambda: raw.read(_READ, decode_content=False), b""))
        headers = {n: t.encode("latin-1").decode() for n, t in answer.headers.items()}
        tags = self.sdk.get_object_tagging(key, params=chosen).tag_set.tagging_rule
        return Found(size=size, sha256=sha256, headers=_compared(headers), tags=dict(tags))


def differences(wanted: Mapping[str, Found], found: Mapping[str, Found]) -> list[str]:
    """Return a line for each object that is not as wanted, not there, or too much."""
    lines = [f"{key!r} is not at the target" for key in sorted(wanted.keys() - found.keys())]
    lines += [f"{key!r} is at the target" for key in sorted(found.keys() - wanted.keys())]
    both = sorted(wanted.keys() & found.keys())
    lines += [
        f"{key!r} is {found[key]}, not {wanted[key]}" for key in both if found[key] != wanted[key]
    ]
    return lines


def _drained(pieces: Iterator[bytes]) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    for piece in pieces:
        digest.update(piece)
        size += len(piece)
    return size, digest.hexdigest()


def _compared(raw: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that are an object's content, metadata as the text that is meant."""
    found = {}
    for name, text in raw.items():
        known = name.lower()
        if known in _COMPARED:
            found[known] = text
        for prefix in _METADATA:
            if known.startswith(prefix):
                found["meta " + known.removeprefix(prefix)] = _meant(text)
    return found


def _meant(text: str) -> str:
    """Undo the form of RFC 2047, in which S3 gives metadata that is not ASCII."""
    return str(make_header(decode_header(text)))
