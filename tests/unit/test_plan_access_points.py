"""Access points in place of buckets."""

from __future__ import annotations

import re

import pytest

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.operators.params import URI_PATTERN
from airflow_provider_s3resume.plan.access_points import is_arn, is_multi_region, region_of
from airflow_provider_s3resume.plan.objects import Location, object_uri
from airflow_provider_s3resume.plan.sides import parse_places

POINT = "arn:aws:s3:eu-central-1:123456789012:accesspoint/reports"
SEVERAL = "arn:aws:s3::123456789012:accesspoint/mfzwi23gnjvgw.mrap"


@pytest.mark.parametrize(
    "bucket",
    [
        POINT,
        "arn:aws:s3:eu-central-1:123456789012:accesspoint:reports",
        "arn:aws-cn:s3:cn-north-1:123456789012:accesspoint/reports",
        "arn:aws-us-gov:s3:us-gov-west-1:123456789012:accesspoint/reports",
        SEVERAL,
    ],
)
@pytest.mark.parametrize("prefix", ["", "a/b", "/a", "a//b", "arn:aws", "a\nb", "ü"])
def test_c04_what_stands_behind_the_arn_is_the_key(bucket: str, prefix: str) -> None:
    """To the last character, and the URI is read back as it was."""
    found = Location.parse(object_uri(bucket, prefix), parameter="source_uri")
    assert (found.bucket, found.prefix, found.scheme) == (bucket, prefix, "s3")
    assert Location.parse(found.uri, parameter="source_uri") == found
    if "\n" not in prefix:
        assert re.search(URI_PATTERN, found.uri)


def test_an_arn_alone_is_the_whole_access_point() -> None:
    """As a bucket without a slash behind it."""
    assert Location.parse(f"s3://{POINT}", parameter="p") == Location(bucket=POINT)
    assert is_arn(POINT)
    assert not is_arn("arn")


@pytest.mark.parametrize(
    "uri",
    [
        "s3://arn:aws:s3:::bucket/key",
        "s3://arn:aws:s3:eu-central-1:12345:accesspoint/reports/key",
        "s3://arn:aws:s3:eu-central-1:123456789012:accesspoint/",
        "s3://arn:aws:s3-outposts:eu-central-1:123456789012:outpost/op-1/accesspoint/name/key",
        "s3://arn:aws:s3-object-lambda:eu-central-1:123456789012:accesspoint/name/key",
        "s3://arn:aws:s3::123456789012:accesspoint/reports/key",
        "s3://arn:aws:s3:eu-central-1:123456789012:accesspoint/alias.mrap/key",
        "s3://arn:aws:s3:eu-central-1:123456789012:accesspoint/a_b/key",
        "s3://arn:aws:s3:eu-central-1:123456789012:accesspoint/reports_2/key",
        "s3://arn:aws:s3:eu-central-1:123456789012:accesspoint/reports:1/key",
    ],
)
def test_another_arn_is_refused_with_those_that_are_accepted(uri: str) -> None:
    """A region for an access point, and none for one of several regions."""
    with pytest.raises(InvalidInputError, match=r"target_uri.*accesspoint/name/key.*mrap"):
        Location.parse(uri, parameter="target_uri")


def test_an_oss_uri_has_no_access_points() -> None:
    """They are Amazon's."""
    with pytest.raises(InvalidInputError, match="source_uri"):
        Location.parse(f"oss://{POINT}/key", parameter="source_uri")


def test_a_key_behind_an_arn_has_the_same_limit() -> None:
    """1,024 bytes of UTF-8."""
    with pytest.raises(InvalidInputError, match="1024"):
        Location.parse(f"s3://{POINT}/{'ü' * 513}", parameter="source_uri")


def test_regions_are_read_from_arns() -> None:
    """Where there is one."""
    assert region_of(POINT) == "eu-central-1"
    assert region_of(SEVERAL) is region_of("bucket") is None
    assert is_multi_region(SEVERAL)
    assert not is_multi_region(POINT)
    assert not is_multi_region("bucket.mrap")


def test_the_default_state_location_is_behind_the_access_point() -> None:
    """As it would be in a bucket."""
    places = parse_places(f"s3://{POINT}/a/", f"s3://{SEVERAL}/b/")
    assert (places.state.bucket, places.state.prefix) == (SEVERAL, ".s3resume/")
