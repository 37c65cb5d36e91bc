"""What a connection to OSS says: where to go, whom to sign for, and what is refused."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.hooks._oss_addresses import Address
from airflow_provider_s3resume.hooks._oss_connections import OSSFacts
from airflow_provider_s3resume.hooks._oss_credentials import Credentials
from airflow_provider_s3resume.hooks.oss import OSSResumeHook

KEY_ID, SECRET, TOKEN = "LTAI5tExampleKey", "wJalrXUtnFEMIK7MDENG", "CAISexampletoken"
HANGZHOU = {"region": "cn-hangzhou"}
KEYS = {"access_key_id": KEY_ID, "access_key_secret": SECRET}
Connect = Callable[..., OSSResumeHook]


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Give a factory of hooks on a connection with these fields."""

    def make(conn_type: str = "oss", **fields: Any) -> OSSResumeHook:
        monkeypatch.setenv("AIRFLOW_CONN_SIDE", json.dumps({"conn_type": conn_type, **fields}))
        return OSSResumeHook("side", parameter="source_conn_id")

    return make


def test_a_connection_of_the_alibaba_provider_is_read_as_that_provider_does(
    connect: Connect,
) -> None:
    """Keys, region and an endpoint without scheme in the extra, the bucket in the schema."""
    facts = connect(
        schema="data",
        extra={
            "auth_type": "AK",
            **KEYS,
            **HANGZHOU,
            "endpoint": "oss-cn-hangzhou-internal.aliyuncs.com",
        },
    ).facts
    assert facts == OSSFacts(
        subject="source_conn_id 'side'",
        address=Address(
            endpoint="https://oss-cn-hangzhou-internal.aliyuncs.com",
            region="cn-hangzhou",
            signature_version="v4",
        ),
        credentials=Credentials(auth_type="AK", access_key_id=KEY_ID, access_key_secret=SECRET),
        bucket="data",
    )


@pytest.mark.parametrize("conn_type", ["oss", "s3resume_oss"])
@pytest.mark.parametrize("nested", [False, True])
def test_our_fields_stand_at_the_top_or_under_s3resume(
    connect: Connect, conn_type: str, *, nested: bool
) -> None:
    """Login and password are keys too; a field of the form that was left empty is none."""
    ours = {
        **HANGZHOU,
        "symlinks": "report",
        "connections": 8,
        "requests_per_second": 5,
        "bucket": "data",
        "verify": "",
        "internal": None,
    }
    extra = {"s3resume": ours} if nested else ours
    facts = connect(conn_type, login=KEY_ID, password=SECRET, extra=extra).facts
    assert facts.credentials.access_key_id == KEY_ID
    assert facts.credentials.access_key_secret == SECRET
    assert facts.settings == {"symlinks": "report", "connections": 8, "requests_per_second": 5}
    assert facts.bucket == "data"


@pytest.mark.parametrize(
    ("said", "endpoint"),
    [
        ({}, "https://oss-cn-hangzhou.aliyuncs.com"),
        ({"internal": True}, "https://oss-cn-hangzhou-internal.aliyuncs.com"),
        ({"accelerate": True}, "https://oss-accelerate.aliyuncs.com"),
        ({"accelerate": "true"}, "https://oss-accelerate.aliyuncs.com"),
        ({"accelerate": "overseas"}, "https://oss-accelerate-overseas.aliyuncs.com"),
        ({"accelerate": False, "internal": False}, "https://oss-cn-hangzhou.aliyuncs.com"),
        ({"endpoint": "https://oss.example/"}, "https://oss.example"),
        ({"endpoint": "http://127.0.0.1:8080"}, "http://127.0.0.1:8080"),
        ({"endpoint": "cn-hangzhou.oss.aliyuncs.com"}, "https://cn-hangzhou.oss.aliyuncs.com"),
        ({"endpoint": "data.example.com", "is_cname": True}, "https://data.example.com"),
        ({"host": "oss.example"}, "https://oss.example"),
        ({"host": "oss.example", "port": 8443}, "https://oss.example:8443"),
        ({"host": "http://oss.example:80", "port": 8443}, "http://oss.example:80"),
        ({"host": "oss.example", "endpoint": "https://named.example"}, "https://named.example"),
    ],
)
def test_the_endpoint_is_named_or_chosen_from_the_region(
    connect: Connect, said: dict[str, Any], endpoint: str
) -> None:
    """With TLS, unless the scheme says otherwise."""
    fields = {name: said.pop(name) for name in ("host", "port") if name in said}
    facts = connect(**fields, extra={**KEYS, **HANGZHOU, **said}).facts
    assert facts.address.endpoint == endpoint


def test_only_the_old_signature_does_without_a_region(connect: Connect) -> None:
    """Version 4 names it in what is signed."""
    old = {**KEYS, "signature_version": "v1", "endpoint": "oss.example"}
    assert connect(extra=old).facts.address == Address(
        endpoint="https://oss.example", region=None, signature_version="v1"
    )


@pytest.mark.parametrize(
    ("said", "credentials"),
    [
        (
            {**KEYS, "security_token": TOKEN},
            Credentials(
                auth_type="STS",
                access_key_id=KEY_ID,
                access_key_secret=SECRET,
                security_token=TOKEN,
            ),
        ),
        (
            {**KEYS, "auth_type": "sts", "security_token": f" {TOKEN}\n"},
            Credentials(
                auth_type="STS",
                access_key_id=KEY_ID,
                access_key_secret=SECRET,
                security_token=TOKEN,
            ),
        ),
        (
            {"auth_type": "ecs_ram_role", "role_name": "reader"},
            Credentials(auth_type="ecs_ram_role", role_name="reader"),
        ),
        ({"auth_type": "env"}, Credentials(auth_type="env")),
        (
            {"auth_type": "custom", "credentials_provider": "ours.oss:provider"},
            Credentials(auth_type="custom", provider="ours.oss:provider"),
        ),
    ],
)
def test_other_credentials_than_keys(
    connect: Connect, said: dict[str, Any], credentials: Credentials
) -> None:
    """A token makes keys temporary ones; the rest is chosen by ``auth_type``."""
    assert connect(extra={**HANGZHOU, **said}).facts.credentials == credentials


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ({"region": None}, "'region' of source_conn_id 'side': found None, accepted is the bucket"),
        ({"region": "oss-cn-hangzhou"}, "write 'cn-hangzhou'"),
        ({"region": "Hangzhou!"}, "such as 'cn-hangzhou'"),
        ({"region": 7}, "such as 'cn-hangzhou'"),
        ({"region": None, "signature_version": "v1"}, "an endpoint, or the region"),
        ({"signature_version": "v2"}, "'v4' or 'v1'"),
        ({"internal": "yes"}, "true or false"),
        ({"accelerate": "china"}, "true, false or 'overseas'"),
        ({"accelerate": 1.5}, "true, false or 'overseas'"),
        ({"internal": True, "accelerate": True}, "one of the two"),
        ({"internal": True, "endpoint": "oss.example"}, "either an endpoint, or"),
        ({"accelerate": True, "endpoint": "oss.example"}, "either an endpoint, or"),
        ({"is_cname": True}, "the host name that the bucket has"),
        ({"endpoint": "data.oss-cn-hangzhou.aliyuncs.com"}, "'https://oss-cn-hangzhou.aliyuncs"),
        ({"endpoint": "data.oss-cn-hangzhou.aliyuncs.com:443"}, "'https://oss-cn-hangzhou.al"),
        ({"endpoint": "Data.OSS-cn-hangzhou.aliyuncs.com"}, "'https://oss-cn-hangzhou.aliyuncs"),
        ({"endpoint": "data.cn-hangzhou.oss.aliyuncs.com"}, "'https://cn-hangzhou.oss.aliyuncs"),
        ({"endpoint": "d.vpc100-oss-cn-hangzhou.aliyuncs.com"}, "'https://vpc100-oss-cn-hangz"),
        ({"endpoint": "https://s3.oss-cn-hangzhou.aliyuncs.com"}, "s3:// URIs"),
        ({"endpoint": "ftp://oss.example"}, "ftp://oss.example"),
        ({"endpoint": "https://oss.example/bucket"}, "more than scheme, host and port"),
        ({"endpoint": "https://[::1]:80"}, "IPv6"),
        ({"endpoint": 7}, "no such address"),
        ({"auth_type": "magic"}, "'AK' or 'STS'|one of 'AK', 'STS'"),
        ({"auth_type": 7}, "one of 'AK', 'STS'"),
        ({"auth_type": "STS"}, "'security_token' of source_conn_id 'side': found None"),
        ({"access_key_id": None}, "access_key_id (or login) and access_key_secret (or passw"),
        ({"access_key_secret": ""}, "'access_key_secret' of source_conn_id 'side': found None"),
        ({"auth_type": "env"}, "nothing, as auth_type 'env' takes no such field"),
        ({"role_name": "reader"}, "nothing, as auth_type 'AK'"),
        ({"credentials_provider": "ours.provider"}, "nothing, as auth_type 'AK'"),
        ({"auth_type": "ecs_ram_role", "role_name": "acs:ram::1:role/r"}, "not its ARN"),
        ({"auth_type": "custom", "credentials_provider": "provider"}, "dotted path"),
        ({"role_arn": "acs:ram::1:role/r"}, "auth_type 'custom'"),
        ({"s3resume": {"role_arn": "acs:ram::1:role/r"}}, "auth_type 'custom'"),
        ({"s3resume": {"regoin": "cn-hangzhou"}}, "regoin"),
        ({"s3resume": [SECRET]}, "found 'list'"),
        ({"access_key_secret": [SECRET]}, "found 'list'"),
        ({"access_key_secret": f"{SECRET}\nx"}, "printable"),
    ],
)
@pytest.mark.parametrize("conn_type", ["oss", "s3resume_oss"])
def test_what_cannot_be_meant_is_refused_by_name(
    connect: Connect, conn_type: str, said: dict[str, Any], named: str
) -> None:
    """With the way out, and nothing that may be secret (c42)."""
    hook = connect(conn_type, extra={**KEYS, **HANGZHOU, **said})
    with pytest.raises(InvalidInputError) as raised:
        _ = hook.facts
    text = "".join(traceback.format_exception(raised.value))
    assert any(part in str(raised.value) for part in named.split("|"))
    assert "source_conn_id 'side'" in str(raised.value)
    assert SECRET not in text
    assert KEY_ID not in text


def test_unknown_fields_are_refused_where_nobody_else_reads_them(connect: Connect) -> None:
    """At the top of our own type; in the alibaba provider's they may be another's."""
    said = {**KEYS, **HANGZHOU, "team": "data", "retries": 3, "owner": "me"}
    with pytest.raises(InvalidInputError, match=r"owner, retries, team.*accepted is some of acc"):
        _ = connect("s3resume_oss", extra=said).facts
    assert connect("oss", extra=said).facts.settings == {}


@pytest.mark.parametrize("conn_type", ["oss", "s3resume_oss"])
@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [
        ("symlink", "symlinks"),
        ("symlnks", "symlinks"),
        ("Symlinks", "symlinks"),
        ("endpoint_url", "endpoint"),
        ("security-token", "security_token"),
        ("is_cnames", "is_cname"),
        ("request_per_second", "requests_per_second"),
    ],
)
def test_a_misspelt_field_of_ours_is_never_passed_over(
    connect: Connect, conn_type: str, misspelt: str, meant: str
) -> None:
    """Whoever else may read the connection: the error says what is meant, and no value."""
    hook = connect(conn_type, extra={**KEYS, **HANGZHOU, misspelt: SECRET})
    with pytest.raises(InvalidInputError, match=f"{misspelt} .did you mean {meant}[?]") as raised:
        _ = hook.facts
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize("found", [5, ["data"], True])
@pytest.mark.parametrize("nested", [False, True])
def test_a_bucket_is_a_text(connect: Connect, found: object, *, nested: bool) -> None:
    """The connection test answers so too, instead of raising."""
    said = {"s3resume": {"bucket": found}} if nested else {"bucket": found}
    hook = connect(schema="data", extra={**KEYS, **HANGZHOU, **said})
    with pytest.raises(InvalidInputError, match="extra 'bucket' of source_conn_id 'side'"):
        _ = hook.facts
    works, message = hook.test_connection()
    assert (works, "a text" in message) == (False, True)


@pytest.mark.parametrize("conn_type", ["aws", "s3resume", "postgres"])
def test_a_connection_of_another_type_is_refused_with_the_uri_that_it_is_not_for(
    connect: Connect, conn_type: str
) -> None:
    """The message names both."""
    with pytest.raises(InvalidInputError) as raised:
        _ = connect(conn_type).facts
    for part in (f"'{conn_type}'", "'oss' or 's3resume_oss' for an oss:// URI", "'side'"):
        assert part in str(raised.value)


def test_a_missing_connection_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys in the environment are never taken for it."""
    monkeypatch.setenv("OSS_ACCESS_KEY_ID", "machine")
    with pytest.raises(InvalidInputError, match="source_conn_id: found 'nowhere'"):
        _ = OSSResumeHook("nowhere", parameter="source_conn_id").facts


@pytest.mark.parametrize(
    "endpoint",
    [
        f"http://user:{SECRET}@h",
        f"http://h?sig={SECRET}",
        f"{KEY_ID}:{SECRET}@oss.example:9000",
        f"{KEY_ID}:{SECRET}@oss.example",
        f"https://{KEY_ID}:9/{SECRET}@oss.example",
        f"https://{SECRET}?x@oss.example",
        f"oss://{KEY_ID}:{SECRET}",
        f"https://oss.example/{SECRET}",
        f"https://[{SECRET}",
    ],
)
@pytest.mark.parametrize("port", [None, 9000])
def test_c42_an_endpoint_with_a_secret_in_it_is_refused_unsaid(
    connect: Connect, endpoint: str, port: int | None
) -> None:
    """Wherever an endpoint may stand, no message and no cause repeats what may be a secret."""
    known = {"login": KEY_ID, "password": SECRET, "port": port}
    for hook in (
        connect(**known, extra={**HANGZHOU, "endpoint": endpoint}),
        connect(**known, extra=HANGZHOU, host=endpoint),
    ):
        with pytest.raises(InvalidInputError, match=r"endpoint of|host of") as raised:
            _ = hook.facts
        text = "".join(traceback.format_exception(raised.value))
        assert SECRET[:4].lower() not in text.lower()
        assert KEY_ID not in text


def test_c42_no_secret_is_in_the_texts_of_what_was_read(connect: Connect) -> None:
    """Neither of keys, nor of a token, nor of a proxy's password."""
    facts = connect(
        extra={
            **KEYS,
            **HANGZHOU,
            "security_token": TOKEN,
            "proxies": {"https": f"http://user:{SECRET}@proxy.example"},
        }
    ).facts
    assert facts.settings["proxies"]
    for secret in (KEY_ID, SECRET, TOKEN):
        assert secret not in repr(facts)


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://oss-cn-beijing.aliyuncs.com",
        "oss-cn-beijing-internal.aliyuncs.com",
        "https://cn-beijing.oss.aliyuncs.com",
    ],
)
def test_a_region_that_is_not_the_endpoints_is_refused(connect: Connect, endpoint: str) -> None:
    """Both name one: requests would go to the one and be signed for the other."""
    hook = connect(extra={**KEYS, "region": "cn-hangzhou", "endpoint": endpoint})
    with pytest.raises(InvalidInputError, match=r"'region' of .*'cn-hangzhou'.*'cn-beijing'"):
        _ = hook.facts


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://oss-cn-hangzhou.aliyuncs.com",
        "https://oss-cn-hangzhou-internal.aliyuncs.com",
        "https://cn-hangzhou.oss.aliyuncs.com",
        "https://oss-accelerate.aliyuncs.com",
        "https://oss-accelerate-overseas.aliyuncs.com",
        "http://127.0.0.1:10500",
    ],
)
def test_endpoints_of_the_region_or_of_none_are_taken(connect: Connect, endpoint: str) -> None:
    """Accelerated endpoints and other services are in no region."""
    hook = connect(extra={**KEYS, "region": "cn-hangzhou", "endpoint": endpoint})
    assert hook.facts.address.endpoint == endpoint


@pytest.mark.parametrize("field", ["symlinks", "verify", "read_timeout_s", "proxies"])
def test_a_wrong_field_is_named_with_its_connection(connect: Connect, field: str) -> None:
    """A task has two connections, or three."""
    hook = connect(extra={**KEYS, **HANGZHOU, field: "no"})
    with pytest.raises(InvalidInputError, match=f"{field}.* of .*'side'"):
        hook.get_store("bucket")
    good, text = hook.test_connection()
    assert not good
    assert "'side'" in text
