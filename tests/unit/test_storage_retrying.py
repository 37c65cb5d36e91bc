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
from airflow_provider_s3resume.storage.retrying import LONE_ATTEMPTS, REFRESH_AGAIN_S

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
    """Refused for most of an hour, it goes on, as the store accepts another one now and then."""
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
    scene.errors = [ThrottledError] * 700
    scene.put()
    assert scene.now > 3300


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
    assert 600 <= scene.now < 606


def refuse_all(scene: Scene) -> None:
    """Have the store refuse everything until a call is given up."""
    scene.errors = [ThrottledError] * 1000
    with pytest.raises(ThrottledError, match="accepted no request at all"):
        scene.put()


def test_c41_a_store_that_accepts_nothing_costs_the_patience_once() -> None:
    """Not once for each object: later calls are tried once, until something is accepted."""
    scene = Scene()
    refuse_all(scene)
    for _ in range(20):
        scene.calls, given_up_at = [], scene.now
        refuse_all(scene)
        assert (len(scene.calls), scene.now) == (1, given_up_at)
        scene.now += 60  # What else there is to do before the next call.
    scene.errors = []
    scene.put()
    accepted_at = scene.now
    refuse_all(scene)
    assert scene.now - accepted_at >= 600


def test_c41_the_end_of_an_empty_listing_is_a_sign_of_life() -> None:
    """It was answered."""
    scene = Scene()
    scene.now = 5.0
    assert list(scene.store.list_objects()) == []
    assert scene.store.accepted_at == 5.0


@pytest.mark.parametrize("idle", [300.0, 3600.0])
def test_c41_time_without_calls_is_no_silence(idle: float) -> None:
    """A refused call was stopped; the next comes much later and gets its tries."""
    scene = Scene(ThrottledError)
    scene.stop = True
    with pytest.raises(CopyStoppedError):
        scene.put()
    scene.stop = False
    scene.now += idle
    again_at = scene.now
    refuse_all(scene)
    assert scene.now - again_at >= 580


def test_c41_after_an_idle_patience_silence_begins_anew() -> None:
    """Even where a call was given up before."""
    scene = Scene()
    refuse_all(scene)
    scene.now += scene.store.policy.patience_s + 10
    again_at = scene.now
    refuse_all(scene)
    assert scene.now - again_at >= 600


def alone(scene: Scene, accepted: int, refused: int) -> None:
    """Have one call refused, while each of its waits sees other calls of the store."""
    scene.errors = [ThrottledError] * 1500

    def wait(seconds: float) -> bool:
        scene.now += seconds
        errors = scene.errors
        for _ in range(accepted):
            scene.errors = []
            scene.store.check_access()
        for _ in range(refused):
            scene.errors, scene.stop, scene.store.wait = [ThrottledError], True, lambda _: True
            with pytest.raises(CopyStoppedError):
                scene.store.check_access()
        scene.errors, scene.stop, scene.store.wait = errors, False, wait
        return False

    scene.store.wait = wait
    scene.put()


def test_c41_one_call_that_is_refused_for_an_hour_while_others_are_accepted_is_given_up() -> None:
    """A key whose shard is down does not keep a task for days; Airflow may try again."""
    scene = Scene()
    with pytest.raises(ThrottledError, match="this call alone was refused") as caught:
        alone(scene, accepted=2, refused=1)
    assert 3600 <= scene.now < 3610
    assert caught.value.retryable
    assert "told to" in str(caught.value)


def test_c41_throttling_of_all_calls_gives_none_up() -> None:
    """Where most others are refused too, it is the store that has no room."""
    scene = Scene()
    alone(scene, accepted=1, refused=2)
    assert scene.now > 2 * 3600


def test_c41_few_refusals_in_an_hour_give_no_call_up() -> None:
    """Among many callers at a low rate its turn comes seldom, and chance decides."""
    scene = Scene()
    scene.store.policy = RetryPolicy(throttled_base_s=200, throttled_most_s=200)
    scene.errors = [ThrottledError] * (LONE_ATTEMPTS - 1)

    def wait(seconds: float) -> bool:
        errors, scene.errors = scene.errors, []
        scene.store.check_access()
        scene.errors = errors
        scene.now += seconds
        return False

    scene.store.wait = wait
    scene.put()
    assert scene.now > 2 * 3600
    scene.errors = [ThrottledError] * LONE_ATTEMPTS
    with pytest.raises(ThrottledError, match="this call alone"):
        scene.put()


def test_c41_a_network_fault_is_no_sign_of_life() -> None:
    """A store that breaks connections and throttles is given up like one that throttles."""
    scene = Scene(*[ThrottledError, ThrottledError, ThrottledError, TransientStoreError] * 400)
    with pytest.raises(ThrottledError, match="accepted no request at all"):
        scene.put()
    assert scene.store.accepted_at < 0
    assert 600 <= scene.now < 612


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


@pytest.mark.parametrize("fault", [TransientStoreError, ThrottledError])
def test_c41_a_refresh_that_meets_a_fault_is_tried_again(fault: type[StoreError]) -> None:
    """With the call, after a pause; it was no refresh, and says nothing about the store."""
    scene = Scene(*[CredentialsExpiredError] * 3)
    faults = [fault, fault]

    def refresh() -> None:
        scene.refreshed += 1
        if faults:
            raise faults.pop()("AssumeRole", "sts", "reset")

    scene.store.refresh = refresh
    scene.put()
    assert (scene.refreshed, scene.waits) == (3, [0.2, 0.4])
    assert scene.store.silence.refused == 0


@pytest.mark.parametrize(
    ("fault", "times"), [(TransientStoreError, 5), (CredentialsExpiredError, 1)]
)
def test_c41_a_refresh_that_keeps_failing_is_an_error(fault: type[StoreError], times: int) -> None:
    """Of its own kind; credentials that are refused for themselves are not tried again."""
    scene = Scene(*[CredentialsExpiredError] * 10)

    def refresh() -> None:
        raise fault("AssumeRole", "sts", "reset")

    scene.store.refresh = refresh
    with pytest.raises(fault, match="AssumeRole"):
        scene.put()
    assert len(scene.calls) == times


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


@pytest.mark.parametrize("kind", [TransientStoreError, ThrottledError, CredentialsExpiredError])
@pytest.mark.parametrize("condition", [None, Condition(absent=True)])
def test_c16_a_streamed_object_is_not_repeated(
    kind: type[StoreError], condition: Condition | None
) -> None:
    """Its body is gone, whatever the write has ended with."""
    scene = Scene(kind)

    class Body:
        def read(self, _size: int = -1, /) -> bytes:
            return b"x"

    with pytest.raises(kind):
        scene.store.put_object_stream(
            "k", Body(), 1, upload=NewUpload(), content_md5="AAAA", condition=condition
        )
    assert len(scene.calls) == 1


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
