"""A connection's extra is checked when it is read."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.config import Config

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.plan.digests import ChecksumAlgorithm
from airflow_provider_s3resume.storage.presets import AMAZON_S3
from airflow_provider_s3resume.storage.s3 import (
    S3Settings,
    client_config,
    store_settings_from_extra,
)


def test_nothing_said_is_amazon_s3() -> None:
    """Without fields of ours the settings are the defaults, whatever else is in the extra."""
    settings = store_settings_from_extra({"region_name": "eu-west-1", "verify": False})
    assert settings == S3Settings()
    assert settings.capabilities == AMAZON_S3


def test_every_field_is_read() -> None:
    """Each field changes what it names."""
    settings = store_settings_from_extra(
        {
            "list_order": "unordered",
            "key_folding": True,
            "checksums": "crc32c",
            "conditional_writes": False,
            "part_layout": False,
            "md5_etags": False,
            "object_tags": False,
            "stream_parts": False,
            "request_payer": True,
            "payload_signing": True,
            "direct": False,
            "addressing_style": "virtual",
            "limits": {"max_parts": 1000, "min_part_size": 1},
            "connections": 3,
            "read_timeout_s": 1.5,
        }
    )
    can = settings.capabilities
    assert not can.ordered_listing
    assert can.folds_keys
    assert can.part_checksums == (ChecksumAlgorithm.CRC32C, ChecksumAlgorithm.MD5)
    assert not can.full_object_checksum
    assert not any((can.conditional_put, can.conditional_complete, can.part_layout))
    assert not any((can.md5_etags, can.tags, can.streams_parts, can.streams_objects))
    assert (settings.limits.max_parts, settings.limits.min_part_size) == (1000, 1)
    assert settings.limits.max_part_size == S3Settings().limits.max_part_size
    assert settings.request_payer
    assert not settings.direct
    config: dict[str, Any] = client_config(settings)
    assert config["s3"] == {"addressing_style": "virtual", "payload_signing_enabled": True}
    assert (config["max_pool_connections"], config["read_timeout"]) == (3, 1.5)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("list_order", "sorted"),
        ("list_order", True),
        ("key_folding", "yes"),
        ("checksums", "crc64"),
        ("conditional_writes", 1),
        ("part_layout", "true"),
        ("limits", {"min_parts": 1}),
        ("limits", [1]),
        ("connections", 0),
        ("connections", 0.5),
        ("connections", float("nan")),
        ("connections", float("inf")),
        ("connections", 1_000_000),
        ("read_timeout_s", "60"),
        ("read_timeout_s", float("nan")),
        ("connect_timeout_s", 1e12),
        ("limits", {"max_parts": float("inf")}),
        ("addressing_style", "dns"),
    ],
)
def test_a_wrong_value_is_named(field: str, value: object) -> None:
    """The error names the field, and what would be accepted."""
    with pytest.raises(InvalidInputError, match=f"extra.{field}"):
        store_settings_from_extra({field: value})


def test_a_wrong_limit_is_named() -> None:
    """So is one inside of ``limits``, and limits that contradict each other."""
    with pytest.raises(InvalidInputError, match=r"extra\.limits\.max_parts"):
        store_settings_from_extra({"limits": {"max_parts": -1}})
    with pytest.raises(InvalidInputError, match=r"extra\.limits\.min_part_size"):
        store_settings_from_extra({"limits": {"min_part_size": 6 << 30}})


def test_botocore_takes_the_configuration() -> None:
    """One attempt per call, no checksums of botocore's own, no signed payload."""
    options: dict[str, Any] = client_config(S3Settings())
    config: Any = Config(**options)
    assert config.retries["total_max_attempts"] == 1
    assert config.request_checksum_calculation == "when_required"
    assert config.s3["payload_signing_enabled"] is False
