"""The state location is never data, and a user's own keys are never state (c33)."""

from __future__ import annotations

import json

import pytest

from airflow_provider_s3resume.exceptions import InvalidInputError, ManifestError
from airflow_provider_s3resume.plan.manifest import Manifest
from airflow_provider_s3resume.transfer.loading import load_manifest
from airflow_provider_s3resume.transfer.pairs import pairs_manifest
from airflow_provider_s3resume.transfer.state import StateLocation
from airflow_provider_s3resume.transfer.verification import load_noted
from tests.unit.planning_cases import NOW, Sync, put, store, without_state


def names_of(sync: Sync, manifest: Manifest) -> dict[str, str]:
    """Return the noted keys with their reasons."""
    return {one.key: one.reason for one in load_noted(sync.state, manifest.noted)}


def test_c33_state_in_the_target_bucket_is_not_diffed() -> None:
    """After any number of runs our own records count as nothing."""
    sync = Sync()
    put(sync.source, "a")
    sync.run()
    _, manifest = sync.plan()
    assert manifest.counts == {"skip.same_digest": 1}
    assert any(key.startswith(".s3resume/runs/") for key in sync.target.keys())  # noqa: SIM118


@pytest.mark.parametrize("prefix", ["", ".s", "deep/"])
def test_c33_state_under_the_prefix_of_a_sync_is_not_diffed(prefix: str) -> None:
    """Whether the sync's prefix holds the state prefix or cuts its name makes no difference."""
    sync = Sync(
        source_prefix=prefix,
        target_prefix=prefix,
        state_prefix="deep/state/" if prefix == "deep/" else ".s3resume/",
    )
    put(sync.source, f"{prefix}own")
    sync.run()
    _, manifest = sync.plan()
    assert manifest.counts == {"skip.same_digest": 1}
    assert set(without_state(sync.target, sync.state_prefix)) == {f"{prefix}own"}


def test_c33_a_users_keys_of_the_same_name_are_refused_where_they_would_land_in_the_state() -> None:
    """They are named, they fail the run, and the state is not touched."""
    sync = Sync()
    put(sync.source, ".s3resume/mine", b"mine")
    put(sync.source, "data")
    key, manifest = sync.plan()
    assert names_of(sync, manifest) == {".s3resume/mine": "in_state_location"}
    sync.copy(manifest)
    sync.verify(key)
    report = sync.report(key)
    assert (report.copied, report.failed) == (1, 1)
    assert report.failures[0].key == ".s3resume/mine"
    assert ".s3resume/mine" not in sync.target.objects


def test_c33_a_mapping_cannot_lead_into_the_state() -> None:
    """A prefix that completes to the state's name is refused key by key."""
    sync = Sync(source_prefix="x", target_prefix=".s3")
    put(sync.source, "xresume/marker.json", b"evil")
    put(sync.source, "xother")
    _, manifest = sync.plan()
    assert names_of(sync, manifest) == {"xresume/marker.json": "in_state_location"}
    assert manifest.copy_objects == 1


def test_c33_a_users_keys_of_the_same_name_are_copied_where_the_state_is_elsewhere() -> None:
    """With state in a bucket of its own, ``.s3resume/`` without our marker is data."""
    sync = Sync(state_store=store("state"))
    put(sync.source, ".s3resume/mine", b"mine")
    put(sync.source, ".s3resume/marker.json", b'{"format": "somebody else"}')
    report = sync.run()
    assert report.copied == 2
    assert sync.target.data(".s3resume/mine") == b"mine"
    assert sync.run().planned == 0


@pytest.mark.parametrize("own_bucket", [True, False])
def test_c33_our_own_state_in_the_source_bucket_is_not_copied(own_bucket: bool) -> None:  # noqa: FBT001
    """The source may be the target of another sync: our marker there makes it state."""
    sync = Sync(state_store=store("state") if own_bucket else None)
    StateLocation(sync.source).ensure(NOW)
    put(sync.source, ".s3resume/runs/x/manifest.json", b"{}")
    put(sync.source, "data")
    _, manifest = sync.plan()
    assert manifest.counts == {"copy.missing_at_target": 1, "skip.own_state": 2}


def test_c33_another_syncs_state_in_the_source_bucket_is_not_copied() -> None:
    """Wherever this sync keeps its own, what stands with our marker in the usual place is state."""
    sync = Sync(state_store=store("state"), state_prefix="mine/")
    StateLocation(sync.source).ensure(NOW)
    put(sync.source, ".s3resume/checkpoints/x.json", b"{}")
    put(sync.source, "data")
    _, manifest = sync.plan()
    assert manifest.counts == {"copy.missing_at_target": 1, "skip.own_state": 2}


@pytest.mark.parametrize("schema", [1, 2])
def test_c33_nothing_is_written_into_another_syncs_state_in_the_target(schema: int) -> None:
    """It is refused by name there, as in this sync's own, and is no data at the target."""
    sync = Sync(state_store=store("state"), state_prefix="mine/")
    marker = {"format": "airflow-provider-s3resume state", "schema": schema}
    put(sync.target, ".s3resume/marker.json", json.dumps(marker).encode())
    put(sync.target, ".s3resume/runs/x")
    put(sync.source, ".s3resume/runs/x", b"evil")
    put(sync.source, "data")
    _, manifest = sync.plan()
    assert manifest.counts == {"copy.missing_at_target": 1, "refuse.in_state_location": 1}
    with pytest.raises(InvalidInputError, match=r"accepted is a key outside of '\.s3resume/'"):
        pairs_manifest(
            sync.source, sync.target, sync.state, [("data", ".s3resume/runs/x")], "run", now=NOW
        )


def test_c33_a_marker_is_looked_for_only_where_the_sync_can_meet_it() -> None:
    """Credentials that are limited to a prefix need not reach another."""
    sync = Sync(state_store=store("state"), source_prefix="in/", target_prefix="out/")
    put(sync.source, "in/a")
    asked: list[str] = []
    for side in (sync.source, sync.target):
        side.observer.before = lambda _, given: asked.append(given.get("key", ""))
    sync.plan()
    assert not any("marker.json" in key for key in asked)


def test_c33_state_kept_in_the_source_bucket_is_not_copied() -> None:
    """The source bucket may hold the state of this very sync."""
    source = store("source")
    sync = Sync(source=source, state_store=source)
    put(source, "data")
    assert sync.run().copied == 1
    _, manifest = sync.plan()
    assert manifest.counts["skip.same_digest"] == 1
    assert set(manifest.counts) == {"skip.same_digest", "skip.own_state"}
    assert sync.target.keys() == ["data"]


def test_c33_state_in_a_bucket_of_its_own_leaves_the_target_clean() -> None:
    """Nothing but data lies in the target."""
    sync = Sync(state_store=store("state"))
    put(sync.source, "data")
    sync.run()
    assert sync.target.keys() == ["data"]


@pytest.mark.parametrize("foreign", ["aaa", "marker.json", "zzz"])
def test_c33_a_prefix_that_holds_somebody_elses_objects_is_refused(foreign: str) -> None:
    """Without our marker nothing there is ours, wherever its name sorts, and it stays as it is."""
    sync = Sync()
    put(sync.target, f".s3resume/{foreign}", b'{"format": "theirs"}')
    put(sync.source, "a")
    with pytest.raises(InvalidInputError, match=rf"state_uri: found .*{foreign}.* no marker"):
        sync.plan()
    assert sync.target.keys() == [f".s3resume/{foreign}"]
    assert sync.target.data(f".s3resume/{foreign}") == b'{"format": "theirs"}'


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"[]", b"{}", b'{"format": 1}', b"not json"])
def test_c33_a_marker_that_is_not_ours_is_no_marker(body: bytes) -> None:
    """Whatever stands under that name, it is not written over."""
    sync = Sync()
    put(sync.target, ".s3resume/marker.json", body)
    with pytest.raises(InvalidInputError, match="no marker"):
        sync.plan()
    assert sync.target.data(".s3resume/marker.json") == body


def test_c33_state_of_another_version_is_refused() -> None:
    """A later version's records are not read, written or taken for data."""
    sync = Sync()
    marker = {"format": "airflow-provider-s3resume state", "schema": 2}
    put(sync.target, ".s3resume/marker.json", json.dumps(marker).encode())
    with pytest.raises(InvalidInputError, match="found 'state of version 2', accepted is"):
        sync.plan()


def test_the_marker_is_written_once() -> None:
    """Every later run recognises it."""
    sync = Sync()
    sync.plan()
    before = sync.target.data(".s3resume/marker.json")
    sync.plan()
    assert sync.target.data(".s3resume/marker.json") == before


@pytest.mark.parametrize("prefix", ["", "state", "/", "/state/"])
def test_a_state_prefix_that_is_no_folder_is_refused(prefix: str) -> None:
    """The message names the parameter and what is accepted."""
    with pytest.raises(InvalidInputError, match=r"state_uri: found .* accepted is a prefix that"):
        StateLocation(store("state"), prefix)


@pytest.mark.parametrize("body", [b"\xff\xfe", b"{", b'{"schema": 1, "run_id": "\xff"}'])
def test_a_damaged_manifest_is_called_damaged(body: bytes) -> None:
    """Bytes that are no text or no JSON are an error of the manifest, not a crash."""
    sync = Sync()
    key, _ = sync.plan()
    put(sync.target, sync.state.prefix + key, body)
    with pytest.raises(ManifestError, match=r"manifest: found .* accepted is"):
        load_manifest(sync.state, key)


def test_a_manifest_that_is_not_there_is_named() -> None:
    """A reference into nowhere says where it led."""
    with pytest.raises(ManifestError, match="found 'runs/none', accepted is a manifest that was"):
        load_manifest(Sync().state, "runs/none")
