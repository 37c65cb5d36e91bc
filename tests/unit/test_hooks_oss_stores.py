"""From a connection to OSS to a client and a store; no service is asked."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import oss2
import pytest

from airflow_provider_s3resume.exceptions import (
    AccessDeniedError,
    CredentialsExpiredError,
    InvalidInputError,
)
from airflow_provider_s3resume.hooks import _alibaba
from airflow_provider_s3resume.hooks._alibaba import RenewableStore
from airflow_provider_s3resume.hooks.oss import OSSResumeHook
from airflow_provider_s3resume.storage.oss import OSSStore
from airflow_provider_s3resume.storage.retrying import Retrying

KEY_ID, SECRET, TOKEN = "LTAI5tExampleKey", "wJalrXUtnFEMIK7MDENG", "CAISexampletoken"
Connect = Callable[..., OSSResumeHook]


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Give a factory of hooks on a connection of keys with these fields in its extra."""

    def make(*, keys: bool = True, schema: str | None = "data", **extra: Any) -> OSSResumeHook:
        known = {"login": KEY_ID, "password": SECRET} if keys else {}
        said = {"region": "cn-hangzhou", **extra}
        connection = {"conn_type": "oss", **known, "schema": schema, "extra": said}
        monkeypatch.setenv("AIRFLOW_CONN_SIDE", json.dumps(connection))
        return OSSResumeHook("side", parameter="source_conn_id")

    return make


def credentials_of(hook: OSSResumeHook) -> tuple[str, str, str]:
    """Return what a client of the hook signs with."""
    found = hook.get_conn("data").auth.credentials_provider.get_credentials()
    token = found.get_security_token() or ""
    return found.get_access_key_id(), found.get_access_key_secret(), token


def test_a_client_is_what_the_connection_says(connect: Connect) -> None:
    """Signature, region, endpoint, bucket, timeouts; and keys with their token."""
    client = connect(security_token=TOKEN, connect_timeout_s=3, read_timeout_s=7).get_conn()
    assert isinstance(client.auth, oss2.ProviderAuthV4)
    assert (client.region, client.bucket_name) == ("cn-hangzhou", "data")
    assert client.endpoint == "https://oss-cn-hangzhou.aliyuncs.com"
    assert client.timeout == (3, 7)
    assert credentials_of(connect(security_token=TOKEN)) == (KEY_ID, SECRET, TOKEN)
    old = connect(signature_version="v1").get_conn("other")
    assert isinstance(old.auth, oss2.ProviderAuth)
    assert old.bucket_name == "other"


@pytest.mark.parametrize(
    "said", [{}, {"internal": True}, {"accelerate": True}, {"accelerate": "overseas"}]
)
def test_a_bucket_is_one_bucket_by_whatever_endpoint(
    connect: Connect, said: dict[str, Any]
) -> None:
    """A sync of a place with itself is seen to be that."""
    store = connect(**said).get_store("data")
    assert store.service == "https://oss-cn-hangzhou.aliyuncs.com"
    assert (store.scheme, store.bucket) == ("oss", "data")


@pytest.mark.parametrize(
    ("said", "given", "symlinks"),
    [
        ({}, None, "follow"),
        ({"symlinks": "report"}, None, "report"),
        ({"symlinks": "report"}, "follow", "follow"),
        ({}, "report", "report"),
    ],
)
def test_the_argument_about_symlinks_comes_before_the_connections(
    connect: Connect, said: dict[str, str], given: str | None, symlinks: str
) -> None:
    """And the connection's before the default, which is to follow them."""
    made = connect(**said).get_store("data", symlinks=given)
    assert isinstance(made, Retrying)
    layer: Any = made
    while not isinstance(layer, OSSStore):
        layer = layer.inner
    assert layer.settings.symlinks == symlinks


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ({"symlinks": "keep"}, "symlinks"),
        ({"connections": 0}, "connections"),
        ({"verify": 7}, "verify"),
        ({"proxies": f"http://user:{SECRET}@proxy"}, "proxies"),
        ({"requests_per_second": -1}, "requests_per_second"),
        ({"bytes_per_second": "many"}, "bytes_per_second"),
    ],
)
def test_fields_of_the_store_are_checked_before_any_request(
    connect: Connect, said: dict[str, Any], named: str
) -> None:
    """The message names the field, and has no secret in it (c42)."""
    with pytest.raises(InvalidInputError, match="accepted is") as raised:
        connect(**said).get_store("data")
    assert named in str(raised.value)
    assert SECRET not in str(raised.value)


def test_expired_credentials_are_read_again_from_the_connection(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call is then made again, with the token that stands in the connection by now (c41)."""
    store = connect(security_token="old").get_store("data", symlinks="report")
    seen: list[tuple[str, str]] = []

    def check_access(inner: OSSStore, prefix: str = "") -> None:
        del prefix
        provider = inner._calls._bucket.auth.credentials_provider
        token = provider.get_credentials().get_security_token()
        seen.append((token, inner.settings.symlinks))
        if token == "old":
            raise CredentialsExpiredError("ListObjectsV2", "oss://data/", "SecurityTokenExpired")

    monkeypatch.setattr(OSSStore, "check_access", check_access)
    connect(security_token="new")
    store.check_access()
    assert seen == [("old", "report"), ("new", "report")]


class TestTestConnection:
    """The connection form's test: asks the service itself, and answers whatever happens."""

    def test_the_bucket_of_the_connection_is_asked_for(
        self, connect: Connect, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """From the schema field, or from the extra."""
        asked: list[str] = []
        monkeypatch.setattr(
            RenewableStore, "check_access", lambda store, *_: asked.append(store.bucket)
        )
        assert connect().test_connection() == (True, "The bucket 'data' answers.")
        assert connect(bucket="other").test_connection()[0]
        assert asked == ["data", "other"]

    def test_it_never_raises(self, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
        """What is wrong is the answer; keys that may not list buckets can still be tested."""

        def denied(operation: str) -> Callable[..., int]:
            def deny(*_: object) -> int:
                raise AccessDeniedError(operation, "https://oss.example", "AccessDenied")

            return deny

        monkeypatch.setattr(_alibaba, "count_buckets", denied("ListBuckets"))
        monkeypatch.setattr(RenewableStore, "check_access", denied("ListObjectsV2"))
        works, message = connect().test_connection()
        assert not works
        assert "name a bucket" not in message
        hook = connect(schema=None)
        assert "name a bucket if the keys may not list" in hook.test_connection()[1]
        assert OSSResumeHook("nowhere").test_connection()[0] is False
        monkeypatch.setattr(_alibaba, "count_buckets", denied("GetRoleCredentials"))
        assert "name a bucket" not in hook.test_connection()[1]

    def test_c42_it_never_raises_whatever_happens(
        self, connect: Connect, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Of an error that nobody has thought of, the type is told; its text may hold anything."""

        def fail(*_: object) -> int:
            raise LookupError(SECRET)

        monkeypatch.setattr(_alibaba, "count_buckets", fail)
        works, message = connect(schema=None).test_connection()
        assert (works, SECRET in message) == (False, False)
        assert "LookupError" in message


def test_reading_a_connection_loads_no_sdk() -> None:
    """A DAG file is read every few seconds, and names its connections only."""
    code = (
        "import sys\n"
        "import airflow_provider_s3resume.hooks.oss, airflow_provider_s3resume.hooks.sides\n"
        "print(sorted({n.partition('.')[0] for n in sys.modules} & {'oss2', 'boto3', 'crcmod'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.splitlines()[-1] == "[]"
