"""What a connection says of OSS is checked when it is read; one service has one name."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import oss2
import pytest

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.storage.oss import (
    OSSSettings,
    PlainSession,
    make_bucket,
    oss_settings_from_extra,
    service_of,
)

REGION = "cn-hangzhou"
ENDPOINT = f"https://oss-{REGION}.aliyuncs.com"


def _auth(version: str = "v4") -> Any:
    return oss2.make_auth("key", "secret", version)


def test_nothing_said_is_the_default() -> None:
    """Without fields of ours the settings are the defaults, whatever else is in the extra."""
    assert oss_settings_from_extra({"region": REGION, "auth_type": "AK"}) == OSSSettings()


def test_every_field_is_read() -> None:
    """Each field changes what it names."""
    said: dict[str, object] = {
        "connect_timeout_s": 1.5,
        "read_timeout_s": 2,
        "connections": 3,
        "request_payer": True,
        "symlinks": "report",
        "verify": "/etc/authorities.pem",
        "proxies": {"https": "http://user:word@proxy.example.com:3128"},
        "is_cname": True,
        "is_path_style": True,
        "md5_etags": False,
    }
    settings = oss_settings_from_extra(said)
    assert {name: getattr(settings, name) for name in said} == said
    assert not settings.capabilities.md5_etags


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("connect_timeout_s", 0),
        ("read_timeout_s", "60"),
        ("connections", 0.5),
        ("connections", True),
        ("connections", float("nan")),
        ("connections", float("inf")),
        ("connections", 1_000_000),
        ("connect_timeout_s", float("nan")),
        ("connect_timeout_s", float("inf")),
        ("read_timeout_s", 1e12),
        ("read_timeout_s", 10**400),
        ("request_payer", 1),
        ("symlinks", "skip"),
        ("symlinks", True),
        ("verify", ""),
        ("verify", None),
        ("proxies", "http://proxy:3128"),
        ("proxies", {"https": ""}),
        ("proxies", {"https": 3128}),
        ("is_cname", "yes"),
        ("is_path_style", "no"),
        ("md5_etags", 0),
    ],
)
def test_a_wrong_value_is_named(field: str, value: object) -> None:
    """The error names the field, and what would be accepted."""
    with pytest.raises(InvalidInputError, match=rf"extra\.{field}.*accepted is"):
        oss_settings_from_extra({field: value})


@pytest.mark.parametrize(
    "proxies",
    [
        "http://user:pass-word@proxy:3128",
        *(
            {"http": address}
            for address in (
                "http://user:pass-word/ss@proxy:3128",
                "http://user:12/pass-word@proxy:3128",
                "http://user:pass-word#@proxy:3128",
                "http://user:pass-word?@proxy:3128",
                "http://user:pass-word\\@proxy:3128",
                "http://user:pass-word[@proxy:3128",
                "http://user:pass-word]@proxy:3128",
                "http://user:pass-word @proxy:3128",
                "http://user:pass-word\n@proxy:3128",
                "http://user:pass-word@@proxy:3128",
                "http://user:pass-w\u00f6rd@proxy:3128",
                "http://us:pass-word\u2100ss@proxy:1",
                "http://user:pass-word@proxy:port",
                "http://user:pass-word@proxy:65536",
                "http://user:pass-word@proxy:0",
                "http://user:pass-word@:3128",
                "http://user:pass-word@[::1:3128",
                "http://user:pass-word@[nowhere]:3128",
                "http://user:pass-word@pr\u00f6xy:3128",
                "http://user:pass-word@proxy:3128/path",
                "http://user:pass-word@proxy:3128?query",
                "http://user:pass-word@proxy:3128\n",
                "ftp://user:pass-word@proxy:3128",
                "user:pass-word@proxy:3128",
            )
        ),
    ],
)
def test_c42_a_refused_proxy_is_not_shown(proxies: object) -> None:
    """What readers could disagree about is refused, and named by its type alone."""
    with pytest.raises(InvalidInputError, match=r"extra\.proxies") as caught:
        oss_settings_from_extra({"proxies": proxies})
    told = "".join(traceback.format_exception(caught.value))
    assert not [part for part in ("pass-w", "ss@", "3128\n") if part in told]
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    "address",
    [
        "http://proxy",
        "http://proxy.example.com:3128/",
        "HTTPS://user@proxy.example.com:3128",
        "socks5://user:p%2Fw@127.0.0.1:1080",
        "socks5h://user:a^b!c@[::1]:1080",
    ],
)
def test_c42_a_proxy_that_is_taken_is_not_shown_either(address: str) -> None:
    """The settings may be logged; the address of a proxy is not in their text."""
    settings = oss_settings_from_extra({"proxies": {"https": address}})
    assert settings.proxies == {"https": address}
    assert address not in repr(settings)


@pytest.mark.parametrize(
    "endpoint",
    [
        "oss-cn-hangzhou.aliyuncs.com",
        "http://oss-cn-hangzhou.aliyuncs.com",
        "https://oss-cn-hangzhou.aliyuncs.com/",
        "https://OSS-cn-hangzhou.aliyuncs.com:443",
        "oss-cn-hangzhou-internal.aliyuncs.com",
        "oss-accelerate.aliyuncs.com",
        "https://oss-accelerate-overseas.aliyuncs.com",
        "cn-hangzhou.oss.aliyuncs.com",
        "vpc100-oss-cn-hangzhou.aliyuncs.com",
        "oss-cn-hangzhou.aliyuncs.com.",
    ],
)
def test_one_service_has_one_name(endpoint: str) -> None:
    """Every address of a region's service has the same name, so that a bucket is one bucket."""
    assert service_of(endpoint, REGION) == ENDPOINT
    if "accelerate" not in endpoint:
        assert service_of(endpoint, None) == ENDPOINT


def test_a_domain_of_the_users_own_is_its_region() -> None:
    """A bucket has one name by its own domain too; what a host says comes before what is said."""
    assert service_of("data.example.com", REGION, is_cname=True) == ENDPOINT
    assert service_of("http://data.example.com:8080", f"oss-{REGION}", is_cname=True) == ENDPOINT
    assert service_of("oss-cn-hangzhou.aliyuncs.com", "us-east-1") == ENDPOINT


@pytest.mark.parametrize(
    ("endpoint", "region", "is_cname", "name"),
    [
        ("oss-accelerate.aliyuncs.com", None, False, "https://oss-accelerate.aliyuncs.com"),
        ("data.example.com", None, True, "https://data.example.com"),
        ("data.example.com", REGION, False, "https://data.example.com"),
        ("oss-cn-hangzhou.aliyuncs.com", REGION, True, ENDPOINT),
        ("http://127.0.0.1:8080", REGION, False, "http://127.0.0.1:8080"),
        ("http://oss.example.com", None, False, "http://oss.example.com"),
    ],
)
def test_another_service_is_named_by_its_address(
    endpoint: str,
    region: str | None,
    is_cname: bool,  # noqa: FBT001 - a column of the table
    name: str,
) -> None:
    """Where no region is known, or the host is not Alibaba Cloud's, the address is the name."""
    assert service_of(endpoint, region, is_cname) == name


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "ftp://oss-cn-hangzhou.aliyuncs.com",
        "https://",
        "https://host:port",
        "https://host/bucket",
        "https://host/?Signature=se-cret",
        "https://user:se-cret@host",
        "https://[",
    ],
)
def test_what_is_no_endpoint_is_refused_unseen(endpoint: str) -> None:
    """An endpoint is scheme, host and port; one that says more may say a secret."""
    for call in (
        lambda: service_of(endpoint, REGION),
        lambda: make_bucket(_auth(), endpoint, "bucket", REGION, OSSSettings()),
    ):
        with pytest.raises(InvalidInputError, match="endpoint") as caught:
            call()
        assert "se-cret" not in str(caught.value)


def test_a_bucket_is_made_as_told() -> None:
    """TLS unless told otherwise, both timeouts, own connections, no CRC of the SDK's."""
    settings = OSSSettings(connect_timeout_s=1, read_timeout_s=2, connections=3)
    bucket = make_bucket(_auth(), "oss-cn-hangzhou.aliyuncs.com", "bucket", REGION, settings)
    assert bucket.endpoint == ENDPOINT
    assert bucket.timeout == (1, 2)
    assert bucket.region == REGION
    assert not bucket.enable_crc
    assert isinstance(bucket.session, PlainSession)
    session = bucket.session.session
    assert not session.trust_env
    adapter: Any = session.get_adapter(ENDPOINT)
    assert adapter._pool_maxsize == 3


def test_what_makes_no_bucket_is_refused(tmp_path: Path) -> None:
    """No region for version 4, a bucket name that OSS does not have, a file that is not there."""
    nowhere = OSSSettings(verify=str(tmp_path / "nowhere.pem"))
    for match, name, region, settings in (
        ("region", "bucket", None, OSSSettings()),
        ("bucket", "UPPER", REGION, OSSSettings()),
        ("verify", "bucket", REGION, nowhere),
    ):
        with pytest.raises(InvalidInputError, match=match):
            make_bucket(_auth(), ENDPOINT, name, region, settings)
    assert make_bucket(_auth("v1"), ENDPOINT, "bucket", None, OSSSettings()).region is None
