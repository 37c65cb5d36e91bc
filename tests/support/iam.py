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
    "CreateMultipartUpload": "s3:PutObject",
    "DeleteObject": "s3:DeleteObject",
    "GetObject": "s3:GetObject",
    "GetObjectTagging": "s3:GetObjectTagging",
    "HeadObject": "s3:GetObject",
    "ListParts": "s3:ListMultipartUploadParts",
    "PutObject": "s3:PutObject",
    "UploadPart": "s3:PutObject",
}
_READS = frozenset({"GetObject", "HeadObject"})
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
    action = _OF_OBJECTS[call]
    if "versionId" in exchange.query and action != "s3:PutObject":
        action = action.replace("Object", "ObjectVersion")
    names = [action, *(["s3:PutObjectTagging"] if "x-amz-tagging" in exchange.headers else [])]
    return [Asked(action=name, bucket=bucket, resource=f"{arn}/{key}") for name in names]


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
    """

    def __init__(self, policies: Policies, client: S3Client) -> None:
        self._policies = policies
        self._client = client
        self.refused: list[str] = []

    def stand_before(self, wire: Wire) -> None:
        """Judge all requests of a wire from now on, after the rules that it has already."""
        wire.add(Rule(when=self._refuses, action=Replace(status=403, body=DENIED)))

    def _refuses(self, exchange: Exchange) -> bool:
        asked = asked_by(exchange)
        if call_of(exchange) in _READS and not self._is_there(exchange):
            bucket, key = place_of(exchange)
            arn, context = f"arn:aws:s3:::{bucket}", {"s3:prefix": key}
            asked.append(
                Asked(action="s3:ListBucket", bucket=bucket, resource=arn, context=context)
            )
        refused = [one.action for one in asked if not self._policies.allow(one)]
        self.refused += refused
        return bool(refused)

    def _is_there(self, exchange: Exchange) -> bool:
        bucket, key = place_of(exchange)
        try:
            self._client.head_object(Bucket=bucket, Key=key)
        except ClientError:
            return False
        return True


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
