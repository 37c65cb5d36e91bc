"""From the class of a source object to that of its copy."""

from __future__ import annotations

import pytest

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.plan.storage_classes import S3_CLASSES, ClassMapping

URI = "oss://from/key"


@pytest.mark.parametrize("name", S3_CLASSES)
def test_a_class_of_s3_stands_for_itself(name: str) -> None:
    """The target is an S3."""
    assert ClassMapping.of(None).target_class(name, uri=URI) == name


@pytest.mark.parametrize(
    ("found", "mapped"),
    [
        (None, "STANDARD"),
        ("", "STANDARD"),
        ("EXPRESS_ONEZONE", "STANDARD"),
        ("OUTPOSTS", "STANDARD"),
        ("Standard", "STANDARD"),
        ("IA", "STANDARD_IA"),
        ("Archive", "GLACIER_IR"),
        ("ColdArchive", "GLACIER"),
        ("DeepColdArchive", "DEEP_ARCHIVE"),
    ],
)
def test_classes_of_other_places_are_mapped(found: str | None, mapped: str) -> None:
    """Those of OSS by how long a read waits; a class that is left out is the standard one."""
    assert ClassMapping.of({}).target_class(found, uri=URI) == mapped


def test_a_users_mapping_goes_first_and_the_rest_stays() -> None:
    """And a star takes what nothing names."""
    mapping = ClassMapping.of({"Archive": "GLACIER", "*": "ONEZONE_IA"})
    assert mapping.target_class("Archive", uri=URI) == "GLACIER"
    assert mapping.target_class("IA", uri=URI) == "STANDARD_IA"
    assert mapping.target_class("MY_TIER", uri=URI) == "ONEZONE_IA"


def test_c19_a_class_that_nothing_is_known_of_is_refused_by_name() -> None:
    """The object is not put into whatever class the target likes."""
    with pytest.raises(InvalidInputError) as raised:
        ClassMapping.of({"Archive": "GLACIER"}).target_class("MY_TIER", uri=URI)
    assert raised.value.parameter == "storage_class_map"
    for word in ("MY_TIER", URI, "*"):
        assert word in str(raised.value)


@pytest.mark.parametrize(
    "given", ["GLACIER", ["IA"], {"IA": 1}, {"": "GLACIER"}, {"IA": ""}, {"IA": "a b"}, {1: "IA"}]
)
def test_what_is_no_mapping_is_refused(given: object) -> None:
    """With an example of one."""
    with pytest.raises(InvalidInputError, match=r"storage_class_map.*Archive"):
        ClassMapping.of(given)
