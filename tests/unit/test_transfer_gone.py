"""When a source object is not found: gone, or only out of sight; and errors nobody expected."""

from __future__ import annotations

import dataclasses
import logging

import pytest

from airflow_provider_s3resume.exceptions import ObjectNotFoundError
from airflow_provider_s3resume.plan.manifest import check_age
from airflow_provider_s3resume.storage.memory import MemoryStore
from airflow_provider_s3resume.transfer import batch, copier
from airflow_provider_s3resume.transfer.loading import load_manifest
from airflow_provider_s3resume.transfer.outcomes import Status
from tests.support.transfer_world import KEY, NOW, World, pattern


@pytest.fixture
def world() -> World:
    """Give a planned copy of one large object."""
    made = World()
    made.seed(pattern(45))
    made.plan()
    return made


def test_a_deleted_object_is_gone(world: World) -> None:
    """The bucket answers and does not list it any more."""
    del world.source.objects[KEY]
    assert world.run_one().status is Status.GONE


def test_c03_a_vanished_bucket_is_not_a_deleted_object(world: World) -> None:
    """HEAD answers 404 to both: the bucket itself is asked before an object is called gone."""
    world.source.state.exists = False
    result = world.run()
    assert [failure.key for failure in result.failures] == [KEY]


def test_c03_a_404_of_something_in_between_is_not_a_deleted_object(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The listing still names it: the copy fails, and an upload under way is kept."""

    def not_found(_store: MemoryStore, key: str, **_: object) -> None:
        raise ObjectNotFoundError("HeadObject", key, "404")

    monkeypatch.setattr(type(world.source), "head", _only(world.source, not_found))
    result = world.run()
    assert [failure.retryable for failure in result.failures] == [True]
    assert "the listing does" in (result.failures[0].error or "")


def _only(store: MemoryStore, instead: object) -> object:
    """Return a ``head`` that is another one for this store alone."""
    original = type(store).head

    def head(self: MemoryStore, key: str, **options: object) -> object:
        if self is store:
            return instead(self, key, **options)  # type: ignore[operator]
        return original(self, key, **options)  # type: ignore[arg-type]

    return head


def test_c40_an_unexpected_error_of_one_object_does_not_end_the_others(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It fails by name and kind; its text, which may hold anything, is not repeated.

    Nobody knows that it is hopeless, so Airflow may try again.
    """
    caplog.set_level(logging.DEBUG)
    world, text = World(), "secret" + " text"
    for key in ("a", "b", "c"):
        world.seed(pattern(5), key=key)
    world.plan("a", "b", "c")
    real = copier.copy_object

    def copy(context: object, entry: object) -> object:
        if getattr(entry, "key", "") == "b":
            raise KeyError(text)
        return real(context, entry)  # type: ignore[arg-type]

    monkeypatch.setattr(batch, "copy_object", copy)
    result = world.run()
    assert [(f.key, f.error_kind) for f in result.failures] == [("b", "UnexpectedError")]
    assert result.failures[0].retryable
    assert result.counts == {"copied": 2, "failed": 1}
    assert "KeyError" in (result.failures[0].error or "")
    assert text not in caplog.text + str(result.failures)


def test_c10_a_source_without_identity_is_refused(world: World) -> None:
    """Neither ETag nor version: ranges of two objects could be mixed, so nothing is read."""
    world.source.objects[KEY] = dataclasses.replace(world.source.objects[KEY], etag="")
    world.plan(KEY, run="again")
    result = world.run()
    assert [failure.error_kind for failure in result.failures] == ["UnsupportedError"]


def test_c35_a_manifest_from_the_future_is_refused(world: World) -> None:
    """A clock is wrong, so its age cannot be told."""
    assert world.ref is not None
    manifest = load_manifest(world.state, world.ref.manifest)
    check_age(manifest, now=NOW - 60, max_age_s=10)
    with pytest.raises(Exception, match="in the future"):
        check_age(manifest, now=NOW - 10_000, max_age_s=10)


def test_a_line_break_in_a_key_makes_no_line_in_a_message() -> None:
    """Nobody can forge a line of the log with a key."""
    assert "\n" not in str(ObjectNotFoundError("HeadObject", "s3://b/a\nERROR forged", "404"))
