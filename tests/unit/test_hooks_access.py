"""Fields of a connection that say by whom, from where and with which key a bucket is reached."""

from __future__ import annotations

import base64
import json
import traceback
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import pytest

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.get_provider_info import get_provider_info
from airflow_provider_s3resume.hooks import _amazon, _connections
from airflow_provider_s3resume.hooks.s3 import S3ResumeHook
from tests.support.wire_direct import Asked, Servers, answer

KEY = base64.b64encode(bytes(range(1, 33))).decode()
ROLE = "arn:aws:iam::{}:role/sync"
Connect = Callable[..., S3ResumeHook]


@pytest.fixture(autouse=True)
def no_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask no service of the outside for a bucket's region."""
    monkeypatch.setattr(_amazon, "discover_region", lambda *_: "")


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Give a factory of hooks on a connection with these fields."""

    def make(conn_type: str = "aws", *, side: str = "source", **fields: Any) -> S3ResumeHook:
        known = {"conn_type": conn_type, "login": "AKIDEXAMPLE", "password": "secret"}
        monkeypatch.setenv(f"AIRFLOW_CONN_{side.upper()}", json.dumps({**known, **fields}))
        return S3ResumeHook(side, parameter=f"{side}_conn_id")

    return make


def nested(**fields: object) -> dict[str, Any]:
    """Return the extra of a connection with these fields of ours."""
    return {"region_name": "us-west-2", "s3resume": fields}


def test_the_fields_are_read(connect: Connect) -> None:
    """Under s3resume of any connection, or at the top of our own type."""
    fields: dict[str, object] = {
        "expected_bucket_owner": "012345678901",
        "request_payer": True,
        "sse_c_secret_key": KEY,
        "use_accelerate_endpoint": True,
        "use_dualstack_endpoint": True,
        "use_fips_endpoint": True,
    }
    for hook in (connect(extra=nested(**fields)), connect("s3resume", extra=dict(fields))):
        settings = hook.store_settings
        assert settings.expected_bucket_owner == "012345678901"
        assert settings.request_payer
        assert settings.customer_key is not None
        assert settings.customer_key.parameters()["SSECustomerKey"] == KEY
        assert (settings.accelerate, settings.dual_stack, settings.fips) == (True, True, True)
        assert not settings.unsigned
    assert connect(login=None, password=None, extra=nested(unsigned=True)).store_settings.unsigned


@pytest.mark.parametrize(
    "fields",
    [
        {"expected_bucket_owner": 12345678901},
        {"expected_bucket_owner": 123456789012},
        {"expected_bucket_owner": "1234567890123"},
        {"expected_bucket_owner": "12345678901"},
        {"expected_bucket_owner": "0123-4567-8901"},
        {"unsigned": "yes"},
        {"use_accelerate_endpoint": "true"},
        {"use_dualstack_endpoint": 1},
        {"use_fips_endpoint": "no"},
    ],
)
def test_a_value_that_cannot_be_used_is_refused_by_name(
    connect: Connect, fields: dict[str, object]
) -> None:
    """Before anything is asked."""
    (name,) = fields
    with pytest.raises(InvalidInputError, match=name):
        connect(extra=nested(**fields)).get_store("bucket")


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"login": None, "password": None, "extra": {"role_arn": ROLE.format(1)}},
        {"login": None},
        {"login": None, "password": None, "extra": {"profile_name": "mine"}},
        {"login": None, "password": None, "extra": {"aws_access_key_id": "AKIDEXAMPLE"}},
    ],
)
def test_credentials_that_would_not_be_used_are_refused(
    connect: Connect, more: dict[str, Any]
) -> None:
    """Whoever gave them thinks that they are."""
    extra = {**nested(unsigned=True), **more.get("extra", {})}
    with pytest.raises(InvalidInputError, match=r"unsigned.*source_conn_id"):
        connect(**{**more, "extra": extra}).get_store("bucket")


@pytest.mark.parametrize(
    "name", ["use_accelerate_endpoint", "use_dualstack_endpoint", "use_fips_endpoint"]
)
@pytest.mark.parametrize(
    "place",
    [
        {"endpoint_url": "https://minio.example"},
        {"service_config": {"s3": {"endpoint_url": "https://minio.example"}}},
    ],
)
def test_an_endpoint_of_amazon_and_another_one_are_refused(
    connect: Connect, name: str, place: dict[str, Any]
) -> None:
    """Only one of them can be meant."""
    with pytest.raises(InvalidInputError, match=f"{name}.*minio.example"):
        connect(extra={**nested(**{name: True}), **place}).get_store("bucket")


def test_c42_a_customers_key_is_sent_over_tls_alone(connect: Connect) -> None:
    """S3 refuses it otherwise, when everybody on the way has read it."""
    extra = {**nested(sse_c_secret_key=KEY), "endpoint_url": "http://minio.example"}
    with pytest.raises(InvalidInputError, match=r"sse_c_secret_key.*in the clear") as raised:
        connect(extra=extra).get_store("bucket")
    assert KEY not in "".join(traceback.format_exception(raised.value))


def test_c42_a_customers_key_is_masked_and_in_no_text(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow is told to hide it in all logs, and our own values do not show it."""
    masked: list[object] = []
    monkeypatch.setattr(_connections, "mask_secret", masked.append)
    hook = connect(extra=nested(sse_c_secret_key=KEY))
    store = hook.get_store("bucket")
    assert masked == [KEY]
    for value in (hook.facts, hook.store_settings, store, store.capabilities):
        assert KEY not in repr(value)


def test_c42_the_field_is_called_as_what_airflow_hides(connect: Connect) -> None:
    """In what its API and its page of connections show; in our form it is a password."""
    from airflow.sdk._shared.secrets_masker import (  # noqa: PLC0415 - of this test alone
        should_hide_value_for_key,
    )

    hides: Any = should_hide_value_for_key
    assert hides("sse_c_secret_key")
    ours = get_provider_info()["connection-types"][0]["conn-fields"]
    assert ours["sse_c_secret_key"]["schema"]["format"] == "password"
    assert connect().facts.settings == {}


def credentials_answer(asked: Asked) -> bytes:
    """Answer AssumeRole; who is asked for shows in the key."""
    account = parse_qs(asked.body.decode())["RoleArn"][0].split(":")[4]
    body = (
        "<AssumeRoleResponse><AssumeRoleResult><Credentials>"
        f"<AccessKeyId>ASIA{account}</AccessKeyId><SecretAccessKey>s</SecretAccessKey>"
        f"<SessionToken>t{account}</SessionToken><Expiration>2999-01-01T00:00:00Z</Expiration>"
        "</Credentials></AssumeRoleResult></AssumeRoleResponse>"
    )
    return answer(200, body.encode(), content_type="text/xml")


def test_each_side_assumes_a_role_of_its_own_with_its_external_id(
    connect: Connect, servers: Servers
) -> None:
    """Request and signature are the amazon provider's; the next call is signed with the answer."""
    sts = servers.recorder(credentials_answer)
    for side, account in (("source", "111111111111"), ("target", "222222222222")):
        extra = {
            "role_arn": ROLE.format(account),
            "assume_role_kwargs": {"ExternalId": f"of-{side}", "DurationSeconds": 900},
            "region_name": "eu-north-1",
            "service_config": {"sts": {"endpoint_url": sts.url}},
            "config_kwargs": {"proxies": {}},
        }
        hook = connect(side=side, login=f"AKID{side}", extra=extra)
        client = hook.get_conn()
        signer: Any = client._request_signer  # type: ignore[attr-defined]
        found = signer._credentials.get_frozen_credentials()
        assert (found.access_key, found.token) == (f"ASIA{account}", f"t{account}")
        asked = sts.asked
        assert asked.method == "POST"
        fields = parse_qs(asked.body.decode())
        assert fields == {
            "RoleSessionName": [f"airflow_{side}"],
            "Action": ["AssumeRole"],
            "Version": ["2011-06-15"],
            "RoleArn": [ROLE.format(account)],
            "ExternalId": [f"of-{side}"],
            "DurationSeconds": ["900"],
        }
        assert f"Credential=AKID{side}/" in asked.headers["authorization"]
        assert "/sts/aws4_request" in asked.headers["authorization"]
    assert len(sts.requests) == 2
