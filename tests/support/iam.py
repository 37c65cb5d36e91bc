"""Policies of IAM, judged at a wire: a request that an identity is not allowed is refused there.

Which actions a call needs is written down here once more, from Amazon's documentation and not from
this project's tables: "Actions, resources, and condition keys for Amazon S3", and the permissions
that the reference names for each call.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from botocore.exceptions import ClientError

from tests.support.wire_rules import Exchange, Replace, Rule

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

    from tests.support.wire import Wire

DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
_OF_BUCKETS = {
    "HeadBucket": "s3:ListBucket",
    "ListMultipartUploads": "s3:ListBucketMultipartUploads",
    "ListObjectVersions": "s3:ListBucketVersions",
    "ListObjectsV2": "s3:ListBucket",
}
_OF_OBJECTS = {
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
    "CompleteMultipartUpload": "s3:PutObject",
    "CopyObject": "s3:PutObject",
    "CreateMultipartUpload": "s3:PutObject",
    "DeleteObject": "s3:DeleteObject",
    "GetObject": "s3:GetObject",
    "GetObjectTagging": "s3:GetObjectTagging",
    "HeadObject": "s3:GetObject",
    "ListParts": "s3:ListMultipartUploadParts",
    "PutObject": "s3:PutObject",
    "UploadPart": "s3:PutObject",
    "UploadPartCopy": "s3:PutObject",
}
_BY_HEADERS = {"x-amz-acl": "s3:PutObjectAcl", "x-amz-tagging": "s3:PutObjectTagging"}
_READS = frozenset({"GetObject", "HeadObject"})
_KMS = frozenset({"aws:kms", "aws:kms:dsse"})
_CIPHER = "x-amz-server-side-encryption"
_ORIGIN = "x-amz-copy-source"
_PATTERN = re.compile(r"\$\{(?P<literal>[*?$])\}|(?P<any>\*)|(?P<one>\?)|(?P<text>.)", re.DOTALL)


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """One action that a request needs.

    :param bucket: that it is about.
    :param resource: ARN, or OSS's name, of what it is about.
    :param context: condition keys, such as ``s3:prefix``.
    """

    action: str
    bucket: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict)


def call_of(exchange: Exchange) -> str:
    """Return the operation of a request (path style)."""
    if exchange.method == "GET" and "tagging" in exchange.query:
        return "GetObjectTagging"
    return exchange.operation


def place_of(exchange: Exchange) -> tuple[str, str]:
    """Return the bucket and the key of a request (path style)."""
    bucket, _, key = unquote(exchange.path)[1:].partition("/")
    return bucket, key


def asked_by(exchange: Exchange) -> list[Asked]:
    """Return what a request needs to be allowed.

    :raises KeyError: for a call that nothing here ever makes.
    """
    call, (bucket, key) = call_of(exchange), place_of(exchange)
    arn = f"arn:aws:s3:::{bucket}"
    if call in _OF_BUCKETS:
        prefix = exchange.query.get("prefix")
        context = {"s3:prefix": prefix} if prefix else {}
        return [Asked(action=_OF_BUCKETS[call], bucket=bucket, resource=arn, context=context)]
    action = _of_version(_OF_OBJECTS[call], exchange.query.get("versionId"))
    names = [action, *(name for header, name in _BY_HEADERS.items() if header in exchange.headers)]
    asked = [Asked(action=name, bucket=bucket, resource=f"{arn}/{key}") for name in names]
    return [*asked, *_of_origin(exchange), *_of_key(exchange, call)]


def _of_version(action: str, version_id: str | None) -> str:
    if version_id is None or action == "s3:PutObject":
        return action
    return action.replace("Object", "ObjectVersion")


def origin_of(exchange: Exchange) -> tuple[str, str, str | None] | None:
    """Return bucket, key and version of what a request copies, ``None`` if it copies nothing."""
    if _ORIGIN not in exchange.headers:
        return None
    place, _, version = exchange.headers[_ORIGIN].partition("?versionId=")
    bucket, _, key = unquote(place).removeprefix("/").partition("/")
    return bucket, key, version or None


def _of_origin(exchange: Exchange) -> list[Asked]:
    """Return what a copy by the service needs on what it is made of."""
    origin = origin_of(exchange)
    if origin is None:
        return []
    bucket, key, version = origin
    action = _of_version("s3:GetObject", version)
    return [Asked(action=action, bucket=bucket, resource=f"arn:aws:s3:::{bucket}/{key}")]


def _of_key(exchange: Exchange, call: str) -> list[Asked]:
    """Return what is needed on the KMS key that a request asks for.

    Parts are encrypted with the key that their upload was begun with, and read for Complete.
    """
    if exchange.headers.get(_CIPHER) not in _KMS:
        return []
    key = exchange.headers[f"{_CIPHER}-aws-kms-key-id"]
    actions = ["kms:GenerateDataKey", *(["kms:Decrypt"] if call == "CreateMultipartUpload" else [])]
    return [Asked(action=action, bucket="", resource=key) for action in actions]


class Policies:
    """What an identity may do: all that one of its policies allows. None of them denies."""

    def __init__(self, documents: Iterable[Mapping[str, Any]]) -> None:
        self._statements = [one for document in documents for one in document["Statement"]]

    def allow(self, asked: Asked) -> bool:
        """Tell whether an action is allowed."""
        return any(
            any(_matches(pattern, asked.action) for pattern in statement["Action"])
            and any(_matches(pattern, asked.resource) for pattern in statement["Resource"])
            and _holds(statement.get("Condition", {}), asked.context)
            for statement in self._statements
        )


class Gate:
    """Refuses at a wire what policies do not allow, as Amazon S3 does.

    Of an object that is not there, Amazon S3 says so only to who may list it: its key is taken for
    the prefix of a listing. To others it is a refusal.

    :param client: of an identity that may do everything, past the wire.
    :param identity: access key of the requests that are judged; ``None`` for all of them.
    """

    def __init__(
        self, policies: Policies, client: S3Client, *, identity: str | None = None
    ) -> None:
        self._policies = policies
        self._client = client
        self._identity = identity
        self.refused: list[str] = []
        self.allowed: list[Asked] = []

    def stand_before(self, wire: Wire) -> None:
        """Judge all requests of a wire from now on, after the rules that it has already."""
        wire.add(Rule(when=self._refuses, action=Replace(status=403, body=DENIED)))

    def _refuses(self, exchange: Exchange) -> bool:
        if self._identity not in {None, exchange.access_key}:
            return False
        asked = [*asked_by(exchange), *self._asked_besides(exchange)]
        refused = [one.action for one in asked if not self._policies.allow(one)]
        self.refused += refused
        self.allowed += [] if refused else asked
        return bool(refused)

    def _asked_besides(self, exchange: Exchange) -> list[Asked]:
        """Return what is needed because of the object that a request is about."""
        if origin := origin_of(exchange):
            return _to_decrypt(self._head(*origin))
        call = call_of(exchange)
        if call not in _READS:
            return []
        bucket, key = place_of(exchange)
        head = self._head(bucket, key, exchange.query.get("versionId"))
        if head is None:
            context = {"s3:prefix": key}
            arn = f"arn:aws:s3:::{bucket}"
            return [Asked(action="s3:ListBucket", bucket=bucket, resource=arn, context=context)]
        # "HeadObject": to retrieve the checksum of what KMS encrypts takes kms:Decrypt.
        reads = call == "GetObject" or "x-amz-checksum-mode" in exchange.headers
        return _to_decrypt(head) if reads else []

    def _head(self, bucket: str, key: str, version: str | None) -> Mapping[str, Any] | None:
        chosen: dict[str, Any] = {} if version is None else {"VersionId": version}
        try:
            return self._client.head_object(Bucket=bucket, Key=key, **chosen)
        except ClientError:
            return None


def _to_decrypt(head: Mapping[str, Any] | None) -> list[Asked]:
    if head is None or head.get("ServerSideEncryption") not in _KMS:
        return []
    return [Asked(action="kms:Decrypt", bucket="", resource=head["SSEKMSKeyId"])]


def without(document: Mapping[str, Any], action: str) -> dict[str, Any]:
    """Return a policy that does not allow an action that it allowed.

    :raises ValueError: if it did not.
    """
    statements = []
    for one in document["Statement"]:
        left = [name for name in one["Action"] if name != action]
        statements += [{**one, "Action": left}] if left else []
    if statements == document["Statement"]:
        raise ValueError(f"{action} is not allowed anyway")
    return {**document, "Statement": statements}


def actions_in(document: Mapping[str, Any]) -> list[str]:
    """Return all actions that a policy names."""
    return [action for statement in document["Statement"] for action in statement["Action"]]


def _holds(conditions: Mapping[str, Any], context: Mapping[str, str]) -> bool:
    for operator, wanted in conditions.items():
        if operator != "StringLike":
            raise ValueError(f"a condition that is not judged here: {operator}")
        for key, patterns in wanted.items():
            value = context.get(key)
            if value is None or not any(_matches(pattern, value) for pattern in patterns):
                return False
    return True


def _matches(pattern: str, text: str) -> bool:
    pieces = []
    for found in _PATTERN.finditer(pattern):
        if found["any"]:
            pieces.append(".*")
        elif found["one"]:
            pieces.append(".")
        else:
            pieces.append(re.escape(found["literal"] or found["text"]))
    return re.fullmatch("".join(pieces), text, re.DOTALL) is not None
