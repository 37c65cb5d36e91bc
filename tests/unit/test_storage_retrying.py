"""What is tried again, when, and what is not (c41, c16)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from airflow_provider_s3resume.exceptions import (
    AccessDeniedError,
    BucketNotFoundError,
    CopyStoppedError,
    CredentialsExpiredError,
    DigestRejectedError,
    ObjectArchivedError,
    ObjectNotFoundError,
    PreconditionFailedError,
    RangeMismatchError,
    StoreError,
    ThrottledError,
    TransientStoreError,
    UnsupportedError,
    UploadNotFoundError,
)
from airflow_provider_s3resume.plan.parts import Limits
from airflow_provider_s3resume.plan.resume import PartRecord
from airflow_provider_s3resume.storage.base import Condition, NewUpload
from airflow_provider_s3resume.storage.layers import Retrying, RetryPolicy
from airflow_provider_s3resume.storage.memory import MemoryStore
from airflow_provider_s3resume.storage.retrying import REFRESH_AGAIN_S

HOPELESS = [
    AccessDeniedError,
    BucketNotFoundError,
    ObjectArchivedError,
    ObjectNotFoundError,
    PreconditionFailedError,
    RangeMismatchError,
    UnsupportedError,
    UploadNotFoundError,
    StoreError,
]


class Scene:
    """A store whose calls fail as told, with a clock that only waiting moves."""

    def __init__(self, *errors: type[StoreError], after: bool = False) -> None:
        self.errors = list(errors)
        self.now = 0.0
        self.waits: list[float] = []
        self.calls: list[str] = []
        self.refreshed = 0
        self.stop = False
        self.memory = MemoryStore(limits=Limits(min_part_size=1, list_page=2))
        if after:
            self.memory.observer.after = self._fail
        else:
            self.memory.observer.before = self._fail
        self.store = Retrying(
            self.memory,
            wait=self._wait,
            refresh=self._refresh,
            clock=lambda: self.now,
            chance=lambda: 1.0,
        )

    def _fail(self, operation: str, _arguments: Mapping[str, Any]) -> None:
        self.calls.append(operation)
        if self.errors:
            raise self.errors.pop(0)(operation, "s3://b/k", "told to")

    def _wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self.now += seconds
        return self.stop

    def _refresh(self) -> None:
        self.refreshed += 1

    def put(self, condition: Condition | None = None) -> None:
        """Write an object."""
        self.store.put_object("k", b"x", upload=NewUpload(), checksum=None, condition=condition)


@pytest.mark.parametrize("kind", HOPELESS)
def test_c41_what_cannot_help_is_tried_once(kind: type[StoreError]) -> None:
    """Such an error comes out at once, after one call and no waiting."""
    scene = Scene(kind)
    with pytest.raises(kind):
        scene.put()
    assert (scene.calls, scene.waits) == (["PutObject"], [])


def test_c41_faults_are_tried_again_with_growing_pauses() -> None:
    """Passing faults and refused digests are tried again, a little later each time."""
    scene = Scene(TransientStoreError, DigestRejectedError, TransientStoreError)
    scene.put()
    assert scene.waits == [0.2, 0.4, 0.8]
    assert scene.memory.data("k") == b"x"


def test_c41_throttling_backs_off_within_the_pace_of_the_store() -> None:
    """Waits are short, since the layer beneath says when a call is made, and grow to a bound."""
    scene = Scene(*[ThrottledError] * 9)
    scene.put()
    assert scene.waits == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5])


def test_c41_throttling_fails_no_call_while_others_are_accepted() -> None:
    """Refused for an hour, a call goes on, as the store accepts another one now and then."""
    scene = Scene()
    policy = scene.store.policy
    later = 0.0

    def wait(seconds: float) -> bool:
        nonlocal later
        scene.now += seconds
        if scene.now - later > policy.patience_s / 2:
            errors, scene.errors = scene.errors, []
            scene.store.check_access()
            scene.errors, later = errors, scene.now
        return False

    scene.store.wait = wait
    scene.errors = [ThrottledError] * 800
    scene.put()
    assert scene.now > 3600


@pytest.mark.parametrize("kind", [ObjectNotFoundError, PreconditionFailedError])
def test_c41_an_answer_about_something_else_is_a_sign_of_life(kind: type[StoreError]) -> None:
    """The store has looked at that request."""
    scene = Scene()
    scene.now = 1000.0
    scene.errors = [kind]
    with pytest.raises(kind):
        scene.put()
    assert scene.store.accepted_at == 1000.0


def test_c41_a_store_that_accepts_nothing_at_all_is_given_up_with_the_reason() -> None:
    """After ten minutes."""
    scene = Scene(*[ThrottledError] * 1000)
    with pytest.raises(ThrottledError, match="accepted no request at all for 600 s") as caught:
        scene.put()
    assert "told to" in str(caught.value)
    assert 590 < scene.now <= 600


def test_c41_a_network_fault_is_no_sign_of_life() -> None:
    """A store that breaks connections and throttles is given up like one that throttles."""
    scene = Scene(*[ThrottledError, ThrottledError, ThrottledError, TransientStoreError] * 400)
    with pytest.raises(ThrottledError, match="accepted no request at all"):
        scene.put()
    assert scene.store.accepted_at < 0
    assert 590 < scene.now <= 600


def test_c41_attempts_end() -> None:
    """After the last try its error comes out."""
    scene = Scene(*[TransientStoreError] * 10)
    with pytest.raises(TransientStoreError):
        scene.put()
    assert len(scene.calls) == 5


def test_c41_the_deadline_ends_the_tries() -> None:
    """No try of a call that met a fault begins behind the deadline."""
    scene = Scene(*[TransientStoreError] * 10)
    scene.store.policy = RetryPolicy(attempts=100, base_s=1, deadline_s=10)
    with pytest.raises(TransientStoreError):
        scene.put()
    assert scene.waits == [1, 2, 4]


def test_c41_throttled_tries_can_be_counted() -> None:
    """Where somebody says how many."""
    scene = Scene(*[ThrottledError] * 10)
    scene.store.policy = RetryPolicy(throttled_attempts=3)
    with pytest.raises(ThrottledError):
        scene.put()
    assert len(scene.calls) == 3


def test_c41_expired_credentials_are_refreshed_once() -> None:
    """The refresh comes first, then the call at once; a second refusal comes out."""
    scene = Scene(CredentialsExpiredError)
    scene.put()
    assert (scene.refreshed, scene.waits) == (1, [])
    scene = Scene(CredentialsExpiredError, CredentialsExpiredError)
    with pytest.raises(CredentialsExpiredError):
        scene.put()
    assert (scene.refreshed, len(scene.calls)) == (1, 2)


def test_c41_credentials_expire_again_while_a_call_is_throttled() -> None:
    """A minute later, with calls accepted in between, they are refreshed another time."""
    throttled = [ThrottledError] * 25
    errors = [CredentialsExpiredError, *throttled, CredentialsExpiredError]
    scene = Scene(*errors)
    waited = scene.store.wait

    def wait(seconds: float) -> bool:
        scene.store.accepted_at = scene.now  # Another thread's call.
        return waited(seconds)

    scene.store.wait = wait
    scene.put()
    assert scene.now > REFRESH_AGAIN_S
    assert scene.refreshed == 2
    silent = Scene(*errors)
    with pytest.raises(CredentialsExpiredError):
        silent.put()
    assert silent.refreshed == 1


def test_c41_one_call_refused_with_new_credentials_is_not_refreshed_for_ever() -> None:
    """It has another reason, though all others are accepted."""
    scene = Scene(CredentialsExpiredError, CredentialsExpiredError)
    scene.now = 1.0
    refresh = scene.store.refresh

    def refreshed() -> None:
        assert refresh is not None
        refresh()
        scene.now += REFRESH_AGAIN_S / 2
        scene.store.accepted_at = scene.now

    scene.store.refresh = refreshed
    with pytest.raises(CredentialsExpiredError):
        scene.put()
    assert scene.refreshed == 1


def test_c41_a_fault_after_much_throttling_has_tries_of_its_own() -> None:
    """Neither the number of throttled tries nor their time counts among those of the network."""
    throttled = [ThrottledError] * 200
    scene = Scene(*throttled, *[TransientStoreError] * 4, ThrottledError, TransientStoreError)
    waited = scene.store.wait

    def wait(seconds: float) -> bool:
        scene.store.accepted_at = scene.now
        return waited(seconds)

    scene.store.wait = wait
    scene.put()
    assert scene.now > scene.store.policy.deadline_s
    assert scene.waits[200:204] == [0.2, 0.4, 0.8, 1.6]
    assert scene.waits[205] == 0.2
    five = Scene(ThrottledError, *[TransientStoreError] * 5)
    with pytest.raises(TransientStoreError):
        five.put()


def test_a_stop_ends_the_waiting() -> None:
    """Told to stop while waiting, the call says so and is not made again."""
    scene = Scene(ThrottledError)
    scene.stop = True
    with pytest.raises(CopyStoppedError, match="told to") as caught:
        scene.put()
    assert isinstance(caught.value.__cause__, ThrottledError)
    assert len(scene.calls) == 1


def _complete(scene: Scene) -> None:
    errors, scene.errors = scene.errors, []
    upload_id = scene.memory.create_upload("k", NewUpload())
    etag = scene.memory.upload_part("k", upload_id, 1, b"x", None)
    scene.errors, scene.calls = errors, []
    record = PartRecord(part_number=1, size=1, etag=etag)
    scene.store.complete_upload("k", upload_id, [record], size=1, checksum=None)


WRITES: list[Callable[[Scene], None]] = [
    _complete,
    lambda scene: scene.put(Condition(absent=True)),
]


@pytest.mark.parametrize("write", WRITES)
def test_c16_a_write_that_may_have_happened_is_not_repeated(
    write: Callable[[Scene], None],
) -> None:
    """An answer that was lost comes out at once: repeated, the write would meet its own success."""
    scene = Scene(TransientStoreError, after=True)
    with pytest.raises(TransientStoreError):
        write(scene)
    assert len(scene.calls) == 1
    assert scene.memory.data("k") == b"x"


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("kind", [ThrottledError, CredentialsExpiredError])
def test_c16_a_write_that_was_refused_is_repeated(
    write: Callable[[Scene], None], kind: type[StoreError]
) -> None:
    """A refusal proves that nothing happened."""
    scene = Scene(kind)
    write(scene)
    assert len(scene.calls) == 2
    assert scene.memory.data("k") == b"x"


def test_c16_a_streamed_part_is_not_repeated() -> None:
    """Its body is gone."""
    scene = Scene()
    upload_id = scene.memory.create_upload("k", NewUpload())
    scene.errors = [TransientStoreError]

    class Body:
        def read(self, _size: int = -1, /) -> bytes:
            return b"x"

    with pytest.raises(TransientStoreError):
        scene.store.upload_part_stream("k", upload_id, 1, Body(), 1, None)


def test_c01_a_listing_goes_on_behind_its_last_key() -> None:
    """After a fault between two pages no key is missing, and none comes twice."""
    scene = Scene()
    for key in "abcde":
        scene.memory.put_object(key, b"", upload=NewUpload(), checksum=None)
    listing = scene.store.list_objects()
    found = [next(listing).key for _ in range(2)]
    scene.errors = [TransientStoreError, ThrottledError]
    found += [listed.key for listed in listing]
    assert found == list("abcde")


def test_c01_a_listing_that_keeps_failing_is_an_error() -> None:
    """It never ends as a shorter one."""
    scene = Scene()
    for key in "abcde":
        scene.memory.put_object(key, b"", upload=NewUpload(), checksum=None)
    listing = scene.store.list_objects()
    next(listing)
    scene.errors = [TransientStoreError] * 20
    with pytest.raises(TransientStoreError):
        list(listing)


def test_c34_a_lost_answer_to_create_is_not_repeated_blindly() -> None:
    """Each repeat would leave an upload that no record names; a refusal left none."""
    scene = Scene(TransientStoreError, after=True)
    with pytest.raises(TransientStoreError):
        scene.store.create_upload("k", NewUpload())
    assert len(scene.memory.uploads) == 1
    scene = Scene(ThrottledError)
    scene.store.create_upload("k", NewUpload())
    assert scene.calls == ["CreateMultipartUpload"] * 2
