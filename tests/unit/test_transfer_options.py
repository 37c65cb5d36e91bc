"""What copies are asked to have, and what becomes of it at the target (c19)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from airflow_provider_s3resume.exceptions import AccessDeniedError, InvalidInputError
from airflow_provider_s3resume.plan.digests import Checksum, ChecksumAlgorithm
from airflow_provider_s3resume.plan.manifest import CopyEntry
from airflow_provider_s3resume.plan.objects import ContentAttributes, ObjectInfo
from airflow_provider_s3resume.plan.storage_classes import ClassMapping
from airflow_provider_s3resume.storage.base import Condition, NewUpload, WriteOptions
from airflow_provider_s3resume.storage.checksums import checksum_value
from airflow_provider_s3resume.storage.memory import StoredObject
from airflow_provider_s3resume.storage.presets import AMAZON_S3
from airflow_provider_s3resume.transfer.attributes import condition_of, digest_of, is_marker
from airflow_provider_s3resume.transfer.config import CopyConfig, OnUnsupportedAttribute
from airflow_provider_s3resume.transfer.losses import header_losses
from airflow_provider_s3resume.transfer.options import check_fits
from airflow_provider_s3resume.transfer.outcomes import LANDED, Status
from tests.support.transfer_world import CONFIG, KEY, Moment, World, no_waits, pattern, when

SIZES = {"plain": 15, "parts": 45}
ATTRIBUTES = ContentAttributes(
    content_type="text/x-test",
    metadata={"some": "thing"},
    tags={"a": "1", "b": "2"},
    website_redirect="/elsewhere",
)
FAIL = replace(CONFIG, on_unsupported_attribute=OnUnsupportedAttribute.FAIL)
BY_SOURCE = replace(CONFIG, storage_classes=ClassMapping.of({"Archive": "GLACIER"}))
OLD_DIGESTS = {
    "nothing": "2d81f1ee57e13481ead17d4ec6c194760b43ecdd2ae5f0f5b12c6e82440dae06",
    "all": "c4717f39d1958039bf2be93ad5c89417b3abf0fe2bc76b91f3a56c305395908f",
}
"""As the versions have written them that knew neither ACLs nor bucket keys."""
OLD_UPLOADS = {
    "nothing": NewUpload(),
    "all": NewUpload(
        attributes=ATTRIBUTES,
        options=WriteOptions(storage_class="GLACIER", encryption="aws:kms", kms_key_id="k"),
        algorithm=ChecksumAlgorithm.CRC64NVME,
        full_object=True,
    ),
}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    no_waits(monkeypatch)


@pytest.fixture(params=list(SIZES))
def kind(request: pytest.FixtureRequest) -> str:
    """Give both ways in which objects are copied."""
    return str(request.param)


def planned(kind: str, world: World | None = None, **given: object) -> World:
    """Return a world with a plan to copy one object."""
    world = world or World()
    world.seed(pattern(SIZES[kind]), attributes=ATTRIBUTES, **given)  # type: ignore[arg-type]
    world.plan()
    return world


def changed(world: World, change: Callable[[StoredObject], StoredObject]) -> World:
    """Let the target's service keep something else than it was asked for, without a word."""

    def act(moment: Moment) -> None:
        if moment.is_("HeadObject") and KEY in world.target.objects:
            world.target.objects[KEY] = change(world.target.objects[KEY])

    world.on_moment = act
    return world


@pytest.mark.parametrize(
    "options",
    [
        WriteOptions(acl="bucket-owner-full-control"),
        WriteOptions(encryption="AES256"),
        WriteOptions(encryption="aws:kms:dsse", kms_key_id="key"),
        WriteOptions(encryption="aws:kms", kms_key_id="key", bucket_key=True),
        WriteOptions(encryption="aws:kms", bucket_key=False),
    ],
)
def test_c19_what_is_asked_for_is_on_the_object(kind: str, options: WriteOptions) -> None:
    """For objects that are copied in parts, too."""
    world = planned(kind)
    outcome = world.run_one(replace(FAIL, options=options))
    assert (outcome.status, outcome.notes) == (Status.COPIED, ())
    assert world.target.objects[KEY].options == options
    assert world.target.objects[KEY].attributes == ATTRIBUTES


@pytest.mark.parametrize(
    ("found", "mapped"),
    [(None, "STANDARD"), ("STANDARD_IA", "STANDARD_IA"), ("IA", "STANDARD_IA")],
)
def test_c19_a_copy_has_the_class_of_its_source(kind: str, found: str | None, mapped: str) -> None:
    """Or what it stands for."""
    world = planned(kind, options=WriteOptions(storage_class=found))
    assert world.run_one(BY_SOURCE).notes == ()
    assert world.target.objects[KEY].options == WriteOptions(storage_class=mapped)


def test_c19_each_object_of_a_batch_has_its_own_class() -> None:
    """What is kept from one object for the next is kept for that class alone."""
    world = World()
    classes = {"a": "IA", "b": "Archive", "c": None, "d": "Archive", "e": "STANDARD_IA"}
    for key, storage_class in classes.items():
        world.seed(pattern(15), key=key, options=WriteOptions(storage_class=storage_class))
        world.source.objects[key] = replace(world.source.objects[key], restored=True)
    world.plan(*classes)
    world.run(BY_SOURCE).raise_for_failures()
    assert {key: world.target.objects[key].options.storage_class for key in classes} == {
        "a": "STANDARD_IA",
        "b": "GLACIER",
        "c": "STANDARD",
        "d": "GLACIER",
        "e": "STANDARD_IA",
    }


def test_c18_each_object_of_a_batch_has_the_checksum_of_its_source(kind: str) -> None:
    """What is kept from one object for the next is kept for that checksum alone."""
    world, data = World(), pattern(SIZES[kind])
    algorithms = {
        "a": ChecksumAlgorithm.CRC32C,
        "b": ChecksumAlgorithm.CRC64NVME,
        "c": ChecksumAlgorithm.CRC32C,
    }
    for key, algorithm in algorithms.items():
        world.seed(data, key=key, attributes=ATTRIBUTES)
        value = checksum_value(algorithm, data)
        held = (Checksum(algorithm=algorithm, value=value, full_object=True),)
        world.source.objects[key] = replace(world.source.objects[key], checksums=held)
    world.plan(*algorithms)
    world.run().raise_for_failures()
    found = {key: world.target.objects[key].checksums for key in algorithms}
    assert {key: {c.algorithm for c in held} for key, held in found.items()} == {
        key: {algorithm} for key, algorithm in algorithms.items()
    }


def test_c19_a_class_that_was_listed_is_that_of_the_object_that_was_listed(kind: str) -> None:
    """One that has taken its place since has its own, which services leave out if it is plain."""
    world = planned(kind, options=WriteOptions(storage_class="STANDARD_IA"))
    world.seed(pattern(SIZES[kind], seed=1), attributes=ATTRIBUTES)
    assert world.run_one(BY_SOURCE).status is Status.COPIED
    assert world.target.data(KEY) == pattern(SIZES[kind], seed=1)
    assert world.target.objects[KEY].options == WriteOptions(storage_class="STANDARD")


@pytest.mark.parametrize(
    ("there", "etag", "condition"),
    [
        (False, None, Condition(absent=True)),
        (True, "e", Condition(etag="e")),
        (True, None, None),
    ],
)
def test_c18_the_condition_is_what_the_plan_saw(
    there: bool,  # noqa: FBT001 - a case
    etag: str | None,
    condition: Condition | None,
) -> None:
    """An object that showed no ETag is not taken for none: that nothing is there would not hold."""
    entry = CopyEntry(
        key="k",
        target_key="k",
        size=1,
        etag="s",
        last_modified=0.0,
        reason="asked_for",
        target_etag=etag,
        target_there=there,
    )
    assert condition_of(entry, supported=True) == condition
    assert condition_of(entry, supported=False) is None


@pytest.mark.parametrize(
    ("key", "size", "there", "is_one"),
    [
        ("d/", 0, False, True),
        ("d/", 1, False, False),
        ("d", 0, False, False),
        ("d/", 0, True, False),
    ],
)
def test_c08_what_is_a_marker_of_a_directory(
    key: str, size: int, *, there: bool, is_one: bool
) -> None:
    """Only where directories are made of keys."""
    entry = CopyEntry(
        key=key,
        target_key=key,
        size=size,
        etag="s",
        last_modified=0.0,
        reason="missing",
        target_there=there,
    )
    assert is_marker(entry, folds_keys=True) is is_one
    assert not is_marker(entry, folds_keys=False)


def test_c19_each_object_of_a_batch_has_its_own_attributes(kind: str) -> None:
    """Nothing of what one was written with is kept for the next."""
    world = World()
    wanted = {
        key: ContentAttributes(content_type=f"text/{key}", metadata={"of": key}, tags={"of": key})
        for key in ("a", "b", "c")
    }
    for key, attributes in wanted.items():
        world.seed(pattern(SIZES[kind]), key=key, attributes=attributes)
    world.plan(*wanted)
    world.run().raise_for_failures()
    assert {key: world.target.objects[key].attributes for key in wanted} == wanted


def test_c19_tags_that_may_not_be_read_are_told(kind: str) -> None:
    """The object is copied without them, and no retry would bring them."""
    world = planned(kind)

    def deny(moment: Moment) -> None:
        if moment.is_("GetObjectTagging", side="source"):
            raise AccessDeniedError("GetObjectTagging", "s3://from/k", "AccessDenied (HTTP 403)")

    world.on_moment = deny
    outcome = world.run_one()
    assert outcome.status is Status.COPIED
    assert outcome.notes == ("2 tags not carried: AccessDenied (HTTP 403)",)
    assert world.target.objects[KEY].attributes == replace(ATTRIBUTES, tags={})


def test_c19_metadata_that_no_header_can_tell_is_told() -> None:
    """The service says how many entries it has left out."""
    world = planned("parts")
    inner = world.source.head

    def head(key: str, **more: object) -> ObjectInfo:
        return replace(inner(key, **more), missing_metadata=3)  # type: ignore[arg-type]

    world.source.head = head  # type: ignore[method-assign]
    assert world.run_one().notes == ("3 metadata entries cannot be read at the source",)


def test_c19_a_class_that_headers_leave_out_is_the_one_that_was_listed() -> None:
    """Some services tell it in listings alone."""
    world = planned("parts", options=WriteOptions(storage_class="STANDARD_IA"))
    inner = world.source.head

    def head(key: str, **more: object) -> ObjectInfo:
        return replace(inner(key, **more), storage_class=None)  # type: ignore[arg-type]

    world.source.head = head  # type: ignore[method-assign]
    assert world.run_one(BY_SOURCE).status is Status.COPIED
    assert world.target.objects[KEY].options == WriteOptions(storage_class="STANDARD_IA")


def test_c19_names_of_metadata_are_compared_as_http_does() -> None:
    """Services that are written in Go send them with capitals: nothing is lost."""
    asked, found = ({name: "1"} for name in ("some-name", "Some-Name"))
    assert header_losses(ContentAttributes(metadata=asked), ContentAttributes(metadata=found)) == []
    lost = header_losses(ContentAttributes(metadata=asked), ContentAttributes())
    assert lost == ["metadata differs at the target: some-name"]


def test_c19_a_class_without_a_counterpart_fails_the_object_before_it_is_written(kind: str) -> None:
    """And no retry helps."""
    world = planned(kind, options=WriteOptions(storage_class="MY_TIER"))
    outcome = world.run_one(BY_SOURCE)
    assert (outcome.status, outcome.error_kind) == (Status.FAILED, "InvalidInputError")
    assert "MY_TIER" in str(outcome.error)
    assert not outcome.retryable
    assert KEY not in world.target.objects
    assert world.target.uploads == {}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (WriteOptions(storage_class="STANDARD_IA"), "storage class STANDARD_IA is None"),
        (WriteOptions(encryption="aws:kms", bucket_key=True), "bucket key True is False"),
    ],
)
def test_c19_what_the_target_did_not_do_is_told_or_an_error(
    kind: str, options: WriteOptions, told: str
) -> None:
    """As the policy says; never is it silent."""

    def forget(there: StoredObject) -> StoredObject:
        kept = WriteOptions(encryption=there.options.encryption)
        return replace(there, options=kept)

    reported = changed(planned(kind), forget).run_one(replace(CONFIG, options=options))
    assert reported.status in LANDED
    assert reported.notes == (told,)
    failed = changed(planned(kind), forget).run_one(replace(FAIL, options=options))
    assert (failed.status, failed.error_kind) == (Status.FAILED, "AttributesLostError")
    assert told in str(failed.error)
    assert "at the target" in str(failed.error)
    assert not failed.retryable


@pytest.mark.parametrize("encryption", [None, "AES256"])
def test_c19_another_attempt_does_not_find_in_order_what_the_first_one_has_not(
    kind: str, encryption: str | None
) -> None:
    """The object is at the target, and its digest is right: that is not all that was asked for."""

    def forget(there: StoredObject) -> StoredObject:
        return replace(there, options=WriteOptions())

    options = WriteOptions(storage_class="STANDARD_IA", encryption=encryption)
    world = changed(planned(kind), forget)
    first = world.run_one(replace(FAIL, options=options))
    second = world.run_one(replace(FAIL, options=options))
    kind_of_error = "NotEncryptedError" if encryption else "AttributesLostError"
    for outcome in (first, second):
        assert (outcome.status, outcome.error_kind) == (Status.FAILED, kind_of_error)


def test_c19_a_website_redirect_that_is_dropped_is_told(kind: str) -> None:
    """It is a header as the others are."""

    def forget(there: StoredObject) -> StoredObject:
        return replace(there, attributes=replace(there.attributes, website_redirect=None))

    outcome = changed(planned(kind), forget).run_one()
    assert outcome.notes == ("website_redirect '/elsewhere' is None at the target",)


def test_c19_one_layer_of_kms_is_no_two_layers(kind: str) -> None:
    """DSSE that was not done is an encryption that is missing."""

    def weaken(there: StoredObject) -> StoredObject:
        return replace(there, options=WriteOptions(encryption="aws:kms"))

    world = changed(planned(kind), weaken)
    outcome = world.run_one(replace(CONFIG, options=WriteOptions(encryption="aws:kms:dsse")))
    assert (outcome.status, outcome.error_kind) == (Status.FAILED, "NotEncryptedError")


def test_c19_tags_that_the_target_has_not_fail_the_object_before_it_is_written(kind: str) -> None:
    """If that is the policy: nothing is at the target then."""
    world = planned(kind, World(target=replace(AMAZON_S3, tags=False)))
    outcome = world.run_one(FAIL)
    assert (outcome.status, outcome.error_kind) == (Status.FAILED, "AttributesLostError")
    assert "2 tags not carried" in str(outcome.error)
    assert "nothing was written" in str(outcome.error)
    assert KEY not in world.target.objects
    assert world.target.uploads == {}


@pytest.mark.parametrize("wanted", [{"acl": "private"}, {"bucket_key": True}])
def test_c19_an_upload_begun_without_them_is_not_resumed(wanted: dict[str, object]) -> None:
    """An ACL and a bucket key stay as CreateMultipartUpload was asked for them."""
    world = planned("parts")
    kms = WriteOptions(encryption="aws:kms")
    assert world.run_killed(replace(CONFIG, options=kms), when("UploadPart", after=True))
    options = replace(kms, **wanted)  # type: ignore[arg-type]
    outcome = world.run_one(replace(CONFIG, options=options))
    assert outcome.kept_parts == 0
    assert world.target.objects[KEY].options == options


def test_c11_an_upload_begun_with_another_customer_key_is_not_resumed() -> None:
    """Its parts could not be read with this one, and the service refuses more of them."""
    world = planned("parts", World(target=replace(AMAZON_S3, customer_key="one")))
    assert world.run_killed(CONFIG, when("UploadPart", after=True))
    world.target.capabilities = replace(AMAZON_S3, customer_key="another")
    outcome = world.run_one()
    assert outcome.kept_parts == 0
    assert any("started over" in note for note in outcome.notes)


@pytest.mark.parametrize("name", OLD_DIGESTS)
def test_c17_uploads_of_earlier_versions_are_gone_on_with(name: str) -> None:
    """What they asked for has the digest that they wrote; all that is new has another one."""
    upload = OLD_UPLOADS[name]
    assert digest_of(upload) == OLD_DIGESTS[name]
    others = {
        digest_of(replace(upload, options=replace(upload.options, acl="private"))),
        digest_of(replace(upload, options=replace(upload.options, bucket_key=False))),
        digest_of(replace(upload, options=replace(upload.options, bucket_key=True))),
        digest_of(upload, "mark"),
    }
    assert len(others | {OLD_DIGESTS[name]}) == 5


@pytest.mark.parametrize(
    ("given", "parameter"),
    [
        ({"encryption": "aes256"}, "encryption"),
        ({"encryption": "aws:kms:more"}, "encryption"),
        ({"kms_key_id": "k"}, "encryption"),
        ({"kms_key_id": "k", "encryption": "AES256"}, "encryption"),
        ({"bucket_key": True}, "encryption"),
        ({"bucket_key": False, "encryption": "AES256"}, "encryption"),
        ({"bucket_key": True, "encryption": "aws:kms:dsse"}, "encryption"),
        ({"acl": "everybody"}, "acl"),
        ({"storage_class": "a b"}, "storage_class"),
        ({"storage_class": "x" * 65}, "storage_class"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(given: dict[str, object], parameter: str) -> None:
    """When the configuration is made."""
    with pytest.raises(InvalidInputError) as raised:
        CopyConfig(options=WriteOptions(**given))  # type: ignore[arg-type]
    assert raised.value.parameter == parameter


def test_two_encryptions_at_once_are_refused_before_anything_is_read() -> None:
    """With the customer's key, and with one of the service's."""
    capabilities = replace(AMAZON_S3, customer_key="mark")
    check_fits(WriteOptions(storage_class="GLACIER"), capabilities)
    check_fits(WriteOptions(encryption="AES256"), AMAZON_S3)
    with pytest.raises(InvalidInputError, match=r"encryption.*customer-provided key"):
        check_fits(WriteOptions(encryption="AES256"), capabilities)
    world = planned("plain", World(target=capabilities))
    with pytest.raises(InvalidInputError, match="encryption"):
        world.run(replace(CONFIG, options=WriteOptions(encryption="AES256")))
    assert world.traffic.count("GetObject", side="source") == 0
