"""Versions of a real service: the newest or a chosen one, delete markers, and what is not there."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from airflow_provider_s3resume.exceptions import ObjectNotFoundError, StoreError
from airflow_provider_s3resume.transfer.config import CopyConfig
from airflow_provider_s3resume.transfer.outcomes import Status
from tests.conformance.cases import MINISTACK_EXTRA
from tests.support.ministack import MinistackServer
from tests.support.one_server import CONFIG, NEVER, WHOLE, OneServer
from tests.support.transfer_servers import PART
from tests.support.wire import Wire
from tests.support.wire_rules import Match, Replace, Rule


@pytest.fixture
def server(ministack_server: MinistackServer, wire: Callable[..., Wire], bucket: str) -> OneServer:
    """Give a versioned source bucket."""
    made = OneServer(ministack_server.endpoint, bucket, wire, MINISTACK_EXTRA)
    made.keep_versions()
    return made


@pytest.mark.parametrize(
    ("config", "size"),
    [(CONFIG, WHOLE), (CONFIG, PART + 1), (NEVER, WHOLE)],
    ids=["by the service", "large, by the service", "relayed"],
)
def test_a_chosen_version_or_the_newest_is_copied(
    server: OneServer, config: CopyConfig, size: int
) -> None:
    """Each request names the version that was chosen, and none where none was."""
    first = server.put("k", b"1" * size)
    server.put("k", b"2" * size)
    for versions, digit in (({"k": first}, b"1"), (None, b"2")):
        server.plan("k", versions=versions)
        server.run(config).raise_for_failures()
        assert server.data("k") == digit * size
        assert server.outcomes()["k"].by_service is (config is CONFIG)
        assert server.verify().failed == 0


def test_a_version_that_is_not_there_is_refused_by_name(server: OneServer) -> None:
    """At plan time: nothing is copied."""
    server.put("k", b"there")
    with pytest.raises(StoreError, match="version 'no-such-version'"):
        server.plan("k", versions={"k": "no-such-version"})
    assert server.seen("CopyObject") == []


def test_a_delete_marker_is_refused_by_name(server: OneServer) -> None:
    """As a version, and as the newest."""
    server.put("k", b"there")
    client, named = server.client, {"Bucket": server.source_bucket, "Key": "k"}
    marker = client.delete_object(**named)["VersionId"]  # type: ignore[arg-type]
    with pytest.raises(ObjectNotFoundError, match=f"version '{marker}'.*delete marker"):
        server.plan("k", versions={"k": marker})
    with pytest.raises(ObjectNotFoundError, match=f"{server.source_bucket}/k"):
        server.plan("k")


def test_c12_a_range_of_a_version_that_is_answered_with_all_of_it_is_refused(
    server: OneServer,
) -> None:
    """MiniStack does that, whatever range is asked for."""
    first = server.put("k", bytes(PART + 1))
    server.plan("k", versions={"k": first})
    [failure] = server.run(NEVER).failures
    assert failure.error_kind == "RangeMismatchError"


def test_amazons_answers_about_delete_markers_are_told_apart(server: OneServer) -> None:
    """404 with a header for the newest, 405 for one named by its id; neither has a body on HEAD."""
    server.put("k", b"there")
    marker = {"x-amz-delete-marker": "true"}
    heads = Match(operation="HeadObject", path=f"/{server.source_bucket}/k")
    server.wire.add(Rule(when=heads, action=Replace(status=404, headers=marker), times=1))
    with pytest.raises(ObjectNotFoundError, match="a delete marker"):
        server.plan("k")
    server.wire.add(Rule(when=heads, action=Replace(status=405, headers=marker), times=1))
    with pytest.raises(ObjectNotFoundError, match=r"version 'm': .*a delete marker"):
        server.plan("k", versions={"k": "m"})


@pytest.mark.parametrize("config", [CONFIG, NEVER], ids=["by the service", "relayed"])
@pytest.mark.parametrize("size", [WHOLE, PART + 1])
def test_a_version_that_was_deleted_since_the_plan_is_gone(
    server: OneServer, config: CopyConfig, size: int
) -> None:
    """The newest is there, and is not copied in its place."""
    first = server.put("k", b"1" * size)
    server.put("k", b"2" * size)
    server.plan("k", versions={"k": first})
    server.client.delete_object(Bucket=server.source_bucket, Key="k", VersionId=first)
    server.run(config)
    assert server.outcomes()["k"].status is Status.GONE
    assert server.outcomes()["k"].notes == ("the source version was deleted since the plan",)


@pytest.mark.parametrize("size", [WHOLE, PART + 1])
def test_an_object_under_a_delete_marker_since_the_plan_is_gone(
    server: OneServer, size: int
) -> None:
    """Its versions are there, and none was chosen."""
    server.put("k", b"1" * size)
    server.plan("k")
    server.client.delete_object(Bucket=server.source_bucket, Key="k")
    server.run()
    assert server.outcomes()["k"].status is Status.GONE
