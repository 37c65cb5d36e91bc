"""Buckets that are reached otherwise than by the keys in a connection, for ``make demo-parity``."""

from __future__ import annotations

import base64
import json
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore import UNSIGNED
from botocore.config import Config

from tests.support.endpoints import CLIENTS, NO_PROXIES
from tests.support.parity_sides import S3Side
from tests.support.parity_world import SEAWEED, S3Trip, World

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

    from tests.support.endpoints import S3Endpoint

_KEY_BYTES = 32


def new_customer_key() -> dict[str, Any]:
    """Return a new key (SSE-C), as boto3 takes it."""
    return {
        "SSECustomerAlgorithm": "AES256",
        "SSECustomerKey": secrets.token_bytes(_KEY_BYTES),
    }


class SecretSide(S3Side):
    """A bucket whose objects are encrypted with a key of the customer; over TLS."""

    def __init__(self, endpoint: S3Endpoint, client: S3Client, bucket: str) -> None:
        super().__init__(endpoint, client, bucket, SEAWEED)
        self.asked = new_customer_key()
        self.key = base64.b64encode(self.asked["SSECustomerKey"]).decode()
        self.extra["sse_c_secret_key"] = self.key


class PublicSide(S3Side):
    """A bucket that everybody may read; its connection has no credentials."""

    def __init__(self, endpoint: S3Endpoint, client: S3Client, bucket: str) -> None:
        super().__init__(endpoint, client, bucket, {**SEAWEED, "unsigned": True})
        arn = f"arn:aws:s3:::{bucket}"
        everybody = {
            "Effect": "Allow",
            "Principal": "*",
            "Action": ["s3:ListBucket", "s3:GetObject", "s3:GetObjectTagging"],
            "Resource": [arn, f"{arn}/*"],
        }
        policy = {"Version": "2012-10-17", "Statement": [everybody]}
        client.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))

    def connection(self, through: str | None = None) -> str:
        """Return an Airflow connection to it as JSON."""
        return _without_keys(super().connection(through))

    def unsigned(self) -> S3Client:
        """Return a boto3 client of nobody."""
        with CLIENTS:
            return boto3.client(
                "s3",
                endpoint_url=self.endpoint.endpoint_url,
                region_name=self.endpoint.region,
                config=Config(
                    signature_version=UNSIGNED,
                    s3={"addressing_style": "path"},
                    proxies=NO_PROXIES,
                ),
            )


class ProfileSide(S3Side):
    """A bucket whose connection names a profile of the machine's credentials file."""

    def __init__(self, endpoint: S3Endpoint, client: S3Client, bucket: str, profile: str) -> None:
        super().__init__(endpoint, client, bucket, SEAWEED)
        self.profile = profile

    def connection(self, through: str | None = None) -> str:
        """Return an Airflow connection to it as JSON."""
        return _without_keys(super().connection(through), profile_name=self.profile)

    def lines(self) -> str:
        """Return the profile as it stands in the file."""
        return (
            f"[{self.profile}]\naws_access_key_id = {self.endpoint.access_key}\n"
            f"aws_secret_access_key = {self.endpoint.secret_key}\n"
        )


def _without_keys(connection: str, **extra: object) -> str:
    given = json.loads(connection)
    del given["login"], given["password"]
    return json.dumps({**given, "extra": {**given["extra"], **extra}})


def secret_trip(world: World, *, source: bool, target: bool) -> S3Trip:
    """Give two buckets, with a key of the customer for each that shall have one."""
    number, secure = next(world.numbers), world.secure().endpoint
    sides: list[S3Side] = []
    for name, server, secret in zip(
        ("source", "target"), world.seaweeds, (source, target), strict=True
    ):
        bucket = f"{name}-{number}"
        if secret:
            sides.append(SecretSide(secure, secure.client(), bucket))
        else:
            sides.append(S3Side(server.endpoint, server.client(), bucket, SEAWEED))
    trip = S3Trip(sides[0], sides[1], number)
    if target:
        # What is kept there has this key, too, which no other case has.
        state = f"state-{number}"
        trip.target.client.create_bucket(Bucket=state)
        trip.state_uri = f"s3://{state}/.s3resume/"
    return trip


def public_trip(world: World) -> tuple[PublicSide, S3Trip]:
    """Give a bucket that everybody may read, and one of another server."""
    number = next(world.numbers)
    near, far = world.seaweeds
    source = PublicSide(near.endpoint, near.client(), f"source-{number}")
    target = S3Side(far.endpoint, far.client(), f"target-{number}", SEAWEED)
    return source, S3Trip(source, target, number)


def profile_trip(world: World, file: Path) -> S3Trip:
    """Give two buckets whose keys stand in a file, each under a name."""
    number = next(world.numbers)
    sides = [
        ProfileSide(server.endpoint, server.client(), f"{name}-{number}", name)
        for name, server in zip(("source", "target"), world.seaweeds, strict=True)
    ]
    file.write_text("".join(side.lines() for side in sides))
    return S3Trip(sides[0], sides[1], number)
