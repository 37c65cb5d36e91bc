"""From a connection of Airflow to a client and a store."""

from __future__ import annotations

import json
import logging
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from airflow_provider_s3resume.exceptions import (
    AccessDeniedError,
    CredentialsExpiredError,
    InvalidInputError,
    S3ResumeError,
)
from airflow_provider_s3resume.hooks import _amazon
from airflow_provider_s3resume.hooks._amazon import RenewableStore
from airflow_provider_s3resume.hooks._services import service_of
from airflow_provider_s3resume.hooks.s3 import S3ResumeHook
from airflow_provider_s3resume.storage.oss import service_of as oss_service_of
from airflow_provider_s3resume.storage.s3 import S3Store

SECRET = "wJalrXUtnFEMIK7MDENG"
Connect = Callable[..., S3ResumeHook]


@pytest.fixture(autouse=True)
def no_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask no service of the outside for a bucket's region."""
    monkeypatch.setattr(_amazon, "discover_region", lambda *_: "")


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Give a factory of hooks on a connection with these fields."""

    def make(conn_type: str = "aws", **fields: Any) -> S3ResumeHook:
        known = {"conn_type": conn_type, "login": "AKIDEXAMPLE", "password": SECRET}
        monkeypatch.setenv("AIRFLOW_CONN_SIDE", json.dumps({**known, **fields}))
        return S3ResumeHook("side", parameter="source_conn_id")

    return make


def credentials(hook: S3ResumeHook) -> tuple[str, str, str | None]:
    """Return what a client of the hook signs with."""
    found = hook.get_conn()._request_signer._credentials  # type: ignore[attr-defined]
    return found.access_key, found.secret_key, found.token


def test_an_aws_connection_says_what_it_says_to_the_amazon_provider(connect: Connect) -> None:
    """Keys, token, endpoint, region, verification and botocore's own settings."""
    hook = connect(
        extra={
            "aws_session_token": "a-token",
            "endpoint_url": "http://127.0.0.1:9000",
            "region_name": "eu-north-1",
            "config_kwargs": {"read_timeout": 7, "s3": {"addressing_style": "virtual"}},
        }
    )
    client = hook.get_conn()
    assert credentials(hook) == ("AKIDEXAMPLE", SECRET, "a-token")
    assert client.meta.endpoint_url == "http://127.0.0.1:9000"
    assert client.meta.region_name == "eu-north-1"
    config: Any = client.meta.config
    assert config.read_timeout == 7
    assert config.s3["addressing_style"] == "virtual"
    assert config.s3["payload_signing_enabled"] is False
    assert config.request_checksum_calculation == "when_required"
    assert config.retries["total_max_attempts"] == 1


def test_an_s3_endpoint_of_the_service_config_wins(connect: Connect) -> None:
    """As everywhere in the amazon provider."""
    per_service = {"s3": {"endpoint_url": "http://127.0.0.1:9001"}}
    hook = connect(extra={"endpoint_url": "http://127.0.0.1:1", "service_config": per_service})
    assert hook.get_conn().meta.endpoint_url == "http://127.0.0.1:9001"


def test_a_role_is_assumed_with_its_external_id(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The amazon provider's own session factory does it, and refreshes it before it expires."""
    asked: dict[str, Any] = {}

    def refresh(factory: Any) -> dict[str, str]:
        asked.update(factory.conn.assume_role_kwargs, role=factory.role_arn)
        expiry = "2999-01-01T00:00:00+00:00"
        return {"access_key": "role", "secret_key": "s", "token": "t", "expiry_time": expiry}

    base = "airflow.providers.amazon.aws.hooks.base_aws.BaseSessionFactory._refresh_credentials"
    monkeypatch.setattr(base, refresh)
    hook = connect(
        extra={
            "role_arn": "arn:aws:iam::123456789012:role/sync",
            "assume_role_kwargs": {"ExternalId": "ours"},
            "region_name": "eu-north-1",
        }
    )
    assert credentials(hook)[0] == "role"
    assert asked == {"ExternalId": "ours", "role": "arn:aws:iam::123456789012:role/sync"}


def test_our_own_type_has_its_endpoint_in_the_host(connect: Connect) -> None:
    """And no warning of the amazon provider about a type that it does not know."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hook = connect("s3resume", host="http://127.0.0.1", port=9000)
        assert hook.get_conn().meta.endpoint_url == "http://127.0.0.1:9000"
    assert connect("s3resume", host="minio.example").facts.extra["endpoint_url"] == (
        "https://minio.example"
    )


def test_settings_stand_under_s3resume_or_in_the_fields_of_our_form(connect: Connect) -> None:
    """A field of the form that was left empty is none."""
    settings = {"list_order": "unordered", "key_folding": True, "limits": {"max_parts": 100}}
    for hook in (
        connect(extra={"s3resume": settings}),
        connect("s3resume", extra={**settings, "checksums": "", "limits": '{"max_parts": 100}'}),
    ):
        store = hook.get_store("bucket")
        assert store.limits.max_parts == 100
        assert store.capabilities.folds_keys
        # A layer sorts what the service does not.
        assert store.capabilities.ordered_listing


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"conn_type": "postgres"}, "'postgres'"),
        ({"conn_type": "http"}, "'http'"),
        ({"extra": "{not json"}, "JSON"),
        ({"extra": "[1]"}, "list"),
        ({"extra": {"s3resume": {"list_ordre": "bytes"}}}, "list_ordre"),
        ({"extra": {"s3resume": "bytes"}}, "bytes"),
        ({"extra": {"s3resume": {"list_order": "sorted"}}}, "sorted"),
        ({"extra": {"s3resume": {"requests_per_second": 0}}}, "requests_per_second"),
        ({"extra": {"endpoint_url": "localhost:9000"}}, "endpoint_url of source_conn_id"),
        ({"extra": {"endpoint_url": "ftp://localhost"}}, "ftp://localhost"),
        ({"extra": {"endpoint_url": "http://localhost:port"}}, "no such address"),
        ({"extra": {"profile_name": "nobody"}}, "nobody"),
        ({"extra": {"role_arn": "arn:x", "assume_role_method": "by_magic"}}, "by_magic"),
    ],
)
def test_a_connection_that_cannot_be_used_is_refused_by_name(
    connect: Connect, fields: dict[str, Any], named: str
) -> None:
    """Before any request; the message says what is accepted, and has no secret in it (c42)."""
    hook = connect(**fields)
    with pytest.raises(InvalidInputError, match="accepted is") as raised:
        hook.get_store("bucket")
    assert named in str(raised.value)
    assert SECRET not in str(raised.value)


def test_the_accepted_types_are_named(connect: Connect) -> None:
    """With the connection, the parameter that named it, and its type."""
    with pytest.raises(InvalidInputError) as raised:
        connect("postgres").get_store("bucket")
    text = str(raised.value)
    for part in ("source_conn_id 'side'", "'postgres'", "'s3resume' or 'aws'"):
        assert part in text


def test_a_connection_to_oss_is_refused_with_the_uri_that_it_is_not_for(connect: Connect) -> None:
    """The message names both: the type, and the scheme of URI that wants another."""
    with pytest.raises(InvalidInputError, match=r"of type 'oss'.* for an s3:// URI"):
        connect("oss").get_store("bucket")


@pytest.mark.parametrize("fields", [{"s3resume": SECRET}, {"s3resume": [SECRET]}])
def test_c42_a_field_of_ours_that_is_no_object_is_not_repeated(
    connect: Connect, fields: dict[str, Any]
) -> None:
    """Somebody may have put a whole connection there as text."""
    with pytest.raises(InvalidInputError, match="extra 's3resume' of") as raised:
        connect(extra=fields).get_store("bucket")
    assert SECRET not in str(raised.value)


def test_a_missing_connection_is_refused_and_not_taken_for_the_machines_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The amazon hook would go on with whatever credentials the machine has."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "machine")
    with pytest.raises(InvalidInputError, match="target_conn_id: found 'nowhere'"):
        S3ResumeHook("nowhere", parameter="target_conn_id").get_store("bucket")


def test_without_a_connection_boto3_looks_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only where that was asked for."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "machine")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "own")
    assert credentials(S3ResumeHook(None))[:2] == ("machine", "own")


@pytest.mark.parametrize(
    "endpoint",
    [
        f"http://user:{SECRET}@h",
        f"http://h?sig={SECRET}",
        f"AKIDEXAMPLE:{SECRET}@minio.example:9000",
        f"AKIDEXAMPLE:{SECRET}@minio.example",
        f"https://AKIDEXAMPLE:{SECRET[:4]}/{SECRET}@minio.example",
        f"https://AKIDEXAMPLE:9/{SECRET}@minio.example",
        f"https://{SECRET}?x@minio.example",
        f"s3://AKIDEXAMPLE:{SECRET}@minio.example",
        f"s3://AKIDEXAMPLE:{SECRET}",
        f"https://[{SECRET}",
    ],
)
@pytest.mark.parametrize("port", [None, 9000])
def test_c42_an_endpoint_with_a_secret_in_it_is_refused_unsaid(
    connect: Connect, endpoint: str, port: int | None
) -> None:
    """Wherever an endpoint may stand, no message and no cause repeats what may be a secret."""
    nested = {"service_config": {"s3": {"endpoint_url": endpoint}}}
    for hook in (
        connect(extra={"endpoint_url": endpoint}),
        connect("s3resume", host=endpoint, port=port),
        connect(extra=nested),
    ):
        with pytest.raises(InvalidInputError, match=r"endpoint_url of|host of") as raised:
            hook.get_store("bucket")
        text = "".join(traceback.format_exception(raised.value))
        assert SECRET[:4].lower() not in text.lower()
        assert "AKIDEXAMPLE" not in text


def test_c42_no_secret_is_in_logs_or_texts_of_a_hook(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither of the hook's own values nor of what it logs while it makes a client."""
    caplog.set_level(logging.DEBUG, logger="airflow_provider_s3resume")
    caplog.set_level(logging.INFO)
    hook = connect(extra={"aws_session_token": "a-secret-token"})
    store = hook.get_store("bucket")
    for text in (caplog.text, repr(hook.facts), repr(store), repr(hook.store_settings)):
        assert SECRET not in text
        assert "a-secret-token" not in text


@pytest.mark.parametrize(
    ("endpoint", "service"),
    [
        ("https://s3.eu-north-1.amazonaws.com", "https://s3.amazonaws.com"),
        ("https://s3.amazonaws.com", "https://s3.amazonaws.com"),
        ("https://bucket.vpce-1.s3.eu-west-1.vpce.amazonaws.com", "https://s3.amazonaws.com"),
        ("https://s3.cn-north-1.amazonaws.com.cn", "https://s3.amazonaws.com.cn"),
        ("http://Minio.Example:80/x", "http://minio.example"),
        ("https://minio.example:443", "https://minio.example"),
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
        ("http://[::1]:9000", "http://[::1]:9000"),
        ("https://s3.oss-cn-hangzhou.aliyuncs.com", "https://oss-cn-hangzhou.aliyuncs.com"),
        (
            "https://s3.oss-cn-hangzhou-internal.aliyuncs.com",
            "https://oss-cn-hangzhou.aliyuncs.com",
        ),
        ("https://s3.oss-accelerate.aliyuncs.com", "https://s3.oss-accelerate.aliyuncs.com"),
        ("https://s3-accelerate.amazonaws.com", "https://s3.amazonaws.com"),
        ("https://s3-accelerate.dualstack.amazonaws.com", "https://s3.amazonaws.com"),
        ("https://s3.dualstack.eu-west-1.amazonaws.com", "https://s3.amazonaws.com"),
        ("https://s3-fips.dualstack.us-east-1.amazonaws.com", "https://s3.amazonaws.com"),
        ("https://s3-eu-west-1.amazonaws.com", "https://s3.amazonaws.com"),
        ("https://n-1.s3-accesspoint.eu-west-1.amazonaws.com", "https://s3.amazonaws.com"),
        ("https://x.mrap.accesspoint.s3-global.amazonaws.com", "https://s3.amazonaws.com"),
        ("https://s3.dualstack.cn-north-1.amazonaws.com.cn", "https://s3.amazonaws.com.cn"),
        ("https://s3.eusc-de-east-1.amazonaws.eu", "https://s3.amazonaws.eu"),
        ("https://s3.us-gov-east-1.amazonaws.com", "https://s3.us-gov-west-1.amazonaws.com"),
        ("https://s3-fips.us-gov-west-1.amazonaws.com", "https://s3.us-gov-west-1.amazonaws.com"),
        ("https://s3-us-gov-west-1.amazonaws.com", "https://s3.us-gov-west-1.amazonaws.com"),
        ("https://s3-gw.eu-west-1.elb.amazonaws.com", "https://s3-gw.eu-west-1.elb.amazonaws.com"),
        (
            "http://ec2-1-2-3-4.compute-1.amazonaws.com:9000",
            "http://ec2-1-2-3-4.compute-1.amazonaws.com:9000",
        ),
        ("https://notamazonaws.com", "https://notamazonaws.com"),
    ],
)
def test_one_service_has_one_name(endpoint: str, service: str) -> None:
    """Two connections to the same bucket must be seen to be that."""
    assert service_of(endpoint) == service


@pytest.mark.parametrize(
    "host",
    [
        "s3.oss-cn-hangzhou.aliyuncs.com",
        "s3.oss-cn-hangzhou-internal.aliyuncs.com",
        "s3.oss-accelerate.aliyuncs.com",
        "s3.oss-accelerate-overseas.aliyuncs.com",
        "oss-accelerate.aliyuncs.com",
        "oss-cn-hangzhou.aliyuncs.com",
        "oss-cn-hangzhou-internal.aliyuncs.com",
        "S3.OSS-cn-hangzhou.aliyuncs.com:443",
        "s3.cn-hangzhou.oss.aliyuncs.com",
        "cn-hangzhou.oss.aliyuncs.com",
    ],
)
def test_a_region_of_oss_is_called_what_its_own_stores_call_it(connect: Connect, host: str) -> None:
    """A bucket that is copied into itself is seen, by whatever host and API it is reached."""
    own = oss_service_of("oss-cn-hangzhou.aliyuncs.com", "cn-hangzhou")
    for region in ("cn-hangzhou", "oss-cn-hangzhou"):
        assert service_of(f"https://{host}", region) == own
    extra = {"endpoint_url": f"https://{host}", "region_name": "cn-hangzhou"}
    assert connect(extra=extra).get_store("bucket").service == own


def test_expired_credentials_are_read_again_from_the_connection(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call is then made again, with the keys that stand in the connection by now (c41)."""
    store = connect(login="old").get_store("bucket")
    seen: list[str] = []

    def check_access(inner: S3Store, prefix: str = "") -> None:
        del prefix
        key = inner._calls._client._request_signer._credentials.access_key  # type: ignore[attr-defined]
        seen.append(key)
        if key == "old":
            raise CredentialsExpiredError("HeadBucket", "s3://bucket/", "ExpiredToken")

    monkeypatch.setattr(S3Store, "check_access", check_access)
    connect(login="new")
    store.check_access()
    assert seen == ["old", "new"]


@pytest.mark.parametrize(
    ("extra", "region"),
    [
        ({}, "eu-north-1"),
        ({"region_name": "eu-west-1"}, "eu-west-1"),
        ({"endpoint_url": "http://127.0.0.1:9000"}, None),
    ],
)
def test_a_bucket_of_amazon_is_reached_in_its_own_region(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, extra: dict[str, str], region: str | None
) -> None:
    """Where the connection names neither a region nor a host, the service is asked."""
    asked: list[str] = []

    def discover(_client: object, bucket: str, _owner: str | None) -> str:
        asked.append(bucket)
        return "eu-north-1"

    monkeypatch.setattr(_amazon, "discover_region", discover)
    facts = connect(extra=extra).facts
    client = _amazon.make_client_near(facts, {}, "bucket")
    assert asked == ([] if extra else ["bucket"])
    assert region is None or client.meta.region_name == region


def test_a_region_that_cannot_be_found_out_is_left_to_the_first_call(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error of the first real call says more than one of a question about the region."""

    def refuse(_client: object, bucket: str, _owner: str | None) -> str:
        raise AccessDeniedError("HeadBucket", bucket, "AccessDenied")

    monkeypatch.setattr(_amazon, "discover_region", refuse)
    assert _amazon.make_client_near(connect().facts, {}, "bucket").meta.service_model is not None


class TestTestConnection:
    """The connection form's test: asks the service itself, and answers whatever happens."""

    def test_the_bucket_of_the_connection_is_asked_for(
        self, connect: Connect, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """From the schema field, or from our extra."""
        asked: list[str] = []
        monkeypatch.setattr(
            RenewableStore, "check_access", lambda store, *_: asked.append(store.bucket)
        )
        assert connect(schema="one").test_connection()[0]
        assert connect(extra={"s3resume": {"bucket": "two"}}).test_connection()[0]
        assert asked == ["one", "two"]

    def test_without_a_bucket_the_buckets_are_listed(
        self, connect: Connect, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Not STS, which no compatible service has."""

        class Client:
            def list_buckets(self) -> dict[str, list[str]]:
                return {"Buckets": ["one"]}

        monkeypatch.setattr(_amazon, "make_client", lambda *_: Client())
        assert connect().test_connection() == (True, "The service answers and shows 1 buckets.")

    @pytest.mark.parametrize("conn_type", ["postgres", "aws"])
    def test_it_never_raises(
        self, connect: Connect, monkeypatch: pytest.MonkeyPatch, conn_type: str
    ) -> None:
        """What is wrong is the answer, and has no secret in it."""

        def fail(*_: object) -> None:
            raise ClientError({"Error": {"Message": SECRET}}, "ListBuckets")

        monkeypatch.setattr(_amazon, "make_client", fail)
        works, message = connect(conn_type).test_connection()
        assert not works
        assert SECRET not in message
        assert S3ResumeHook("nowhere").test_connection()[0] is False
        assert issubclass(InvalidInputError, S3ResumeError)
