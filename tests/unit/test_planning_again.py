"""A second run over equal buckets copies nothing; a change on either side is seen (c06, c07)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_provider_s3resume.plan.diff import DiffRule, ProvenPair
from airflow_provider_s3resume.plan.manifest import Side
from airflow_provider_s3resume.storage.base import WriteOptions
from airflow_provider_s3resume.storage.presets import AMAZON_S3
from airflow_provider_s3resume.transfer import proven as proven_module
from airflow_provider_s3resume.transfer import storing
from airflow_provider_s3resume.transfer.checking import SidesReport
from airflow_provider_s3resume.transfer.proven import load_proven, pair_name, save_proven
from tests.unit.planning_cases import NOW, Sync, copied, md5, put, store, without_state

DATA = b"eighteen bytes are"
LAYOUTS: list[tuple[int, ...]] = [(), (18,), (9, 9), (5, 7, 6), (4, 4, 4, 4, 2), (8, 8, 2)]
NO_LAYOUT = replace(AMAZON_S3, part_layout=False)


def sides_of(sync: Sync) -> SidesReport:
    """Return both sides as a plan names them."""
    return SidesReport(
        source=Side(service=sync.source.service, uri="s3://source/"),
        target=Side(service=sync.target.service, uri="s3://target/"),
    )


@pytest.mark.parametrize("capabilities", [AMAZON_S3, NO_LAYOUT])
@pytest.mark.parametrize("reproduce", [True, False])
def test_c07_a_second_run_copies_nothing_whatever_the_part_layouts(
    *, capabilities: object, reproduce: bool
) -> None:
    """Layouts that were reproduced, chosen anew, or not known: the first run settled it."""
    sync = Sync(source=store("source", capabilities=capabilities))
    for number, parts in enumerate(LAYOUTS):
        put(sync.source, f"k{number}", DATA, parts=parts)
    first = sync.run(reproduce_layout=reproduce)
    assert (first.copied, first.verified, first.failed) == (len(LAYOUTS), len(LAYOUTS), 0)
    second = sync.run(reproduce_layout=reproduce)
    assert (second.planned, second.copied, second.bytes) == (0, 0, 0)
    third = sync.run(reproduce_layout=reproduce)
    assert third.planned == 0
    assert sum(third.skipped.values()) == len(LAYOUTS)


def test_c07_opaque_etags_under_kms_are_settled_by_the_record() -> None:
    """Both sides give random ETags of MD5 form; the proof of the first run counts."""
    kms = WriteOptions(encryption="aws:kms")
    sync = Sync(options=kms)
    put(sync.source, "plain", DATA, etag=md5(b"opaque"), options=kms)
    put(sync.source, "parts", DATA, parts=(9, 9), etag=f"{md5(b'opaque')}-2", options=kms)
    assert sync.run().verified == 2
    assert sync.target.objects["plain"].etag != md5(DATA)
    for _ in range(3):
        _, manifest = sync.plan()
        assert manifest.counts == {"skip.proven_before": 2}
        sync.run()


def settled() -> Sync:
    """Return a sync whose objects are equal by record only."""
    sync = Sync(source=store("source", capabilities=NO_LAYOUT))
    put(sync.source, "a", DATA, parts=(9, 9))
    put(sync.source, "b", DATA, parts=(5, 7, 6))
    sync.run()
    _, manifest = sync.plan()
    assert manifest.counts == {"skip.proven_before": 2}
    return sync


def test_c07_a_changed_source_ends_the_record() -> None:
    """The same size and another ETag: the pair was proven for what the source was then."""
    sync = settled()
    put(sync.source, "a", DATA[::-1], parts=(9, 9))
    _, manifest = sync.plan()
    assert manifest.counts == {"copy.digest_unknown": 1, "skip.proven_before": 1}
    sync.run()
    assert sync.target.data("a") == DATA[::-1]
    assert sync.run().planned == 0


@pytest.mark.parametrize("etag", [md5(DATA[::-1]), f"{md5(DATA)}-9", "opaque", None])
def test_c07_a_changed_target_ends_the_record(etag: str | None) -> None:
    """What somebody else wrote to the target was never proven."""
    sync = settled()
    put(sync.target, "a", DATA[::-1], etag=etag)
    _, manifest = sync.plan()
    assert copied(manifest) == {"digest_unknown": 1}
    assert manifest.counts["skip.proven_before"] == 1


def test_c07_a_changed_size_ends_the_record() -> None:
    """A record never stands against the sizes."""
    sync = settled()
    put(sync.source, "a", b"short", etag=sync.source.objects["a"].etag)
    _, manifest = sync.plan()
    assert copied(manifest) == {"size_differs": 1}


def test_c07_the_record_forgets_what_is_gone_and_keeps_what_holds() -> None:
    """It is written anew by each verified run: no key stays that the last plan did not see."""
    sync = settled()
    del sync.source.objects["b"]
    put(sync.source, "c", DATA, parts=(6, 6, 6))
    sync.run()
    assert [pair.key for pair in load_proven(sync.state, sides_of(sync))] == ["a", "c"]


def test_c07_the_record_is_read_whole_whatever_the_key_ranges(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In files of two lines, and with listings cut anywhere, every pair is found."""
    monkeypatch.setattr(proven_module, "LINES_OF_A_FILE", 2)
    monkeypatch.setattr(storing, "LINES_OF_A_FILE", 3)
    sync = Sync(source=store("source", capabilities=NO_LAYOUT))
    keys = [f"k{number:02d}" for number in range(11)] + ["z\uff61", "z\U0001f600"]
    for key in keys:
        put(sync.source, key, DATA, parts=(9, 9))
    put(sync.source, "k02x", DATA)  # Without a pair, and the last one before a cut.
    sync.run()
    sync.run()
    assert [pair.key for pair in load_proven(sync.state, sides_of(sync))] == keys
    key, manifest = sync.plan()
    assert manifest.counts == {"skip.proven_before": len(keys), "skip.same_digest": 1}
    assert [ref.lines for ref in manifest.noted] == [3, 3, 3, 3, 1]
    cuts = replace(manifest, quantiles=("k03", "k03x", "k07", "z\U0001f600"))
    sync.state.write_text(key, cuts.to_json())
    assert sync.plan()[1].counts == manifest.counts


@pytest.mark.parametrize("damage", [b"{", b"\xff", b'{"schema":9}', b'{"schema":1,"files":[{}]}'])
def test_c07_a_record_that_cannot_be_read_costs_copies_not_the_plan(damage: bytes) -> None:
    """It is a hint; without it objects are copied again."""
    sync = settled()
    name = next(k for k in sync.target.keys() if "/proven/" in k and k.endswith(".json"))  # noqa: SIM118
    put(sync.target, name, damage)
    _, manifest = sync.plan()
    assert copied(manifest) == {"digest_unknown": 2}


def test_c07_a_record_in_disorder_is_not_used() -> None:
    """Pairs out of order, or a file that was changed, end the record where they stand."""
    sync = settled()
    pairs = list(load_proven(sync.state, sides_of(sync)))
    save_proven(sync.state, sides_of(sync), reversed(pairs))
    assert list(load_proven(sync.state, sides_of(sync))) == pairs[1:]
    save_proven(sync.state, sides_of(sync), pairs)
    name = next(k for k in sync.target.keys() if "/proven/" in k and k.endswith(".jsonl"))  # noqa: SIM118
    put(sync.target, name, sync.target.data(name).replace(b'"a"', b'"x"'))
    assert list(load_proven(sync.state, sides_of(sync))) == []


def test_the_record_belongs_to_one_pair_of_sides() -> None:
    """Another prefix, bucket or service has a record of its own."""
    one = Side(service="https://one", uri="s3://a/")
    names = {
        pair_name(one, replace(one, uri="s3://b/")),
        pair_name(replace(one, uri="s3://b/"), one),
        pair_name(replace(one, service="https://two"), replace(one, uri="s3://b/")),
        pair_name(replace(one, uri="s3://a/x/"), replace(one, uri="s3://b/")),
    }
    assert len(names) == 4


def test_saving_the_record_leaves_no_file_behind() -> None:
    """Files of the record before are gone once the new list of them is written."""
    sync = settled()
    pair = ProvenPair(key="only", source_etag="s", target_etag="t", size=1)
    save_proven(sync.state, sides_of(sync), [pair])
    save_proven(sync.state, sides_of(sync), [pair])
    files = [k for k in sync.target.keys() if "/proven/" in k and k.endswith(".jsonl")]  # noqa: SIM118
    assert len(files) == 1
    assert list(load_proven(sync.state, sides_of(sync))) == [pair]
    save_proven(sync.state, sides_of(sync), [])
    assert list(load_proven(sync.state, sides_of(sync))) == []


def test_c07_a_dry_run_leaves_the_record_alone() -> None:
    """What it would copy was not copied: the record is that of the last real run."""
    sync = settled()
    before = list(load_proven(sync.state, sides_of(sync)))
    put(sync.source, "a", DATA[::-1], parts=(9, 9))
    key, _ = sync.plan(dry_run=True)
    sync.verify(key)
    assert list(load_proven(sync.state, sides_of(sync))) == before


@pytest.mark.parametrize(
    ("rule", "counts"),
    [
        ("size", {"skip.same_size": 1}),
        ("size+etag", {"copy.digest_differs": 1}),
        ("size+newer", {"copy.source_newer": 1}),
        ("size+etag+newer", {"copy.digest_differs": 1}),
    ],
)
def test_c06_same_size_and_other_content_is_seen_by_the_rule(
    rule: str, counts: dict[str, int]
) -> None:
    """By the digest, or by the source's later time; a rule of size alone was asked for."""
    sync = Sync(rule=DiffRule.parse(rule))
    put(sync.target, "k", b"old!", last_modified=NOW - 10)
    put(sync.source, "k", b"new!", last_modified=NOW - 5)
    assert sync.plan()[1].counts == counts


def test_c06_an_older_source_with_other_content_is_seen_by_its_digest() -> None:
    """Neither size nor time tell it; the default rule does."""
    sync = Sync()
    put(sync.source, "k", b"new!", last_modified=NOW - 1000)
    put(sync.target, "k", b"old!")
    sync.run()
    assert without_state(sync.target) == {"k": b"new!"}


@pytest.mark.parametrize("etag", [None, "opaque", f"{md5(b'x')}-2"])
def test_c06_a_digest_that_cannot_be_compared_is_never_the_same(etag: str | None) -> None:
    """It is copied, or, if the rule asks for the time, named as not proven."""
    sync = Sync()
    put(sync.source, "k", b"new!", etag=etag, last_modified=NOW - 10)
    put(sync.target, "k", b"old!")
    assert copied(sync.plan()[1]) == {"digest_unknown": 1}
    sync.rule = DiffRule.parse("size+etag+newer")
    _, manifest = sync.plan()
    assert manifest.counts == {"skip.unknown_not_newer": 1}
    assert sum(ref.lines for ref in manifest.noted) == 1
