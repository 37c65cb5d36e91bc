"""The streaming merge of two listings against a dictionary that looks at every key at once."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_s3resume.exceptions import InvalidInputError, ListingError
from airflow_provider_s3resume.plan.diff import (
    Action,
    Criterion,
    DiffRule,
    ProvenPair,
    Reason,
    TargetRules,
    Verb,
    diff,
    folded,
)
from airflow_provider_s3resume.plan.objects import KeyMapping, ListedObject

PLAIN, OTHER = "a" * 32, "b" * 32
ETAGS = st.sampled_from([PLAIN, OTHER, f"{PLAIN}-2", f"{OTHER}-2", "opaque", None])
# Code points on both sides of the surrogates: UTF-16 and UTF-8 order them differently (c05).
NAMES = st.text(
    alphabet=["a", "b", "/", ".", "é", "\u0301", "\uff61", "\ufffd", "\U0001f600", "\0", "\n"],
    max_size=4,
)
RULES = st.sampled_from(
    [
        DiffRule.parse(text)
        for text in ("size", "size+etag", "size+newer", "size+etag+newer", "size+etag+metadata")
    ]
)
PREFIXES = st.sampled_from(["", "p/", "\U0001f600/", "p"])


@st.composite
def listings(draw: st.DrawFn, prefix: str) -> list[ListedObject]:
    """Give a listing in byte order under a prefix."""
    names = draw(st.sets(NAMES, max_size=8))
    keys = sorted({prefix + name for name in names} - {""}, key=str.encode)
    return [
        ListedObject(
            key=key,
            size=draw(st.integers(0, 2)),
            etag=draw(ETAGS),
            last_modified=float(draw(st.integers(0, 2))),
        )
        for key in keys
    ]


def is_md5(etag: str | None) -> bool:
    """Tell whether an ETag has the form of an MD5."""
    return etag in {PLAIN, OTHER}


def expected_verb(
    source: ListedObject, target: ListedObject | None, rule: DiffRule, pair: ProvenPair | None
) -> Verb:
    """Say in the plainest words what is to be done about a key that the target can hold."""
    if target is None or source.size != target.size:
        return Verb.COPY
    newer = source.last_modified >= target.last_modified
    if Criterion.ETAG in rule.criteria:
        proven = pair is not None and (pair.size, pair.source_etag, pair.target_etag) == (
            source.size,
            source.etag,
            target.etag,
        )
        same = source.etag == target.etag and source.etag not in {None, "opaque"}
        different = is_md5(source.etag) and is_md5(target.etag)
        undecided = Verb.COPY if newer or Criterion.NEWER not in rule.criteria else Verb.SKIP
        return Verb.SKIP if proven or same else Verb.COPY if different else undecided
    return Verb.COPY if newer and Criterion.NEWER in rule.criteria else Verb.SKIP


@given(data=st.data(), source_prefix=PREFIXES, target_prefix=PREFIXES, rule=RULES)
def test_c05_the_merge_finds_what_a_dictionary_finds(
    data: st.DataObject, source_prefix: str, target_prefix: str, rule: DiffRule
) -> None:
    """Every key of both sides is dealt with once, in order, whatever the keys and prefixes."""
    mapping = KeyMapping(source_prefix=source_prefix, target_prefix=target_prefix)
    source, target = data.draw(listings(source_prefix)), data.draw(listings(target_prefix))
    pairs = [
        ProvenPair(
            key=one.key,
            size=data.draw(st.sampled_from([one.size, 9])),
            source_etag=data.draw(st.sampled_from([one.etag or "none", PLAIN])),
            target_etag=data.draw(st.sampled_from([PLAIN, f"{PLAIN}-2", "opaque"])),
        )
        for one in source
        if data.draw(st.booleans())
    ]
    actions = list(diff(source, target, mapping=mapping, rule=rule, proven=pairs))

    theirs = {mapping.to_source(one.key): one for one in target}
    ours = {one.key: one for one in source}
    recorded = {pair.key: pair for pair in pairs}
    assert [a.key for a in actions] == sorted(ours.keys() | theirs.keys(), key=str.encode)
    for action in actions:
        assert (action.source, action.target) == (ours.get(action.key), theirs.get(action.key))
        assert action.target_key == mapping.to_target(action.key)
        if action.source is None:
            assert (action.verb, action.reason) == (Verb.SKIP, Reason.ONLY_AT_TARGET)
        elif not action.target_key:
            assert (action.verb, action.reason) == (Verb.REFUSE, Reason.KEY_NOT_KEPT)
        else:
            pair = recorded.get(action.key)
            assert action.verb is expected_verb(action.source, action.target, rule, pair)


@given(data=st.data(), rule=RULES)
def test_c06_same_size_and_no_comparable_digest_is_never_called_the_same(
    data: st.DataObject, rule: DiffRule
) -> None:
    """A digest that cannot be compared copies, or the reason says that nothing was proven."""
    one = data.draw(st.sampled_from([f"{PLAIN}-2", "opaque", None]))
    other = data.draw(st.sampled_from([PLAIN, f"{OTHER}-2", None]))
    source = ListedObject(key="k", size=1, etag=one, last_modified=data.draw(st.floats(0, 2)))
    target = ListedObject(key="k", size=1, etag=other, last_modified=1.0)
    (action,) = diff([source], [target], mapping=KeyMapping(), rule=rule)
    if Criterion.ETAG in rule.criteria:
        assert action.reason in {
            Reason.DIGEST_UNKNOWN,
            Reason.SOURCE_NEWER,
            Reason.UNKNOWN_NOT_NEWER,
        }
    assert action.reason is not Reason.SAME_DIGEST


def listed(*keys: str) -> list[ListedObject]:
    """Return a listing with these keys, in this order."""
    return [ListedObject(key=key, size=1, etag=PLAIN, last_modified=0.0) for key in keys]


@pytest.mark.parametrize(
    "keys",
    [("b", "a"), ("a", "a"), ("a", "c", "b"), ("\U0001f600", "\uff61"), ("a/", "a"), ("x", "")],
)
@pytest.mark.parametrize("side", ["source", "target"])
def test_c02_a_listing_out_of_order_is_an_error(keys: Sequence[str], side: str) -> None:
    """Keys that step back or repeat on either side are refused, astral ones by their bytes."""
    sides = {"source": listed("a", "z"), "target": listed("a", "z"), side: listed(*keys)}
    with pytest.raises(ListingError, match=f"{side} listing.*repeated or out of byte order"):
        list(diff(sides["source"], sides["target"], mapping=KeyMapping()))


@pytest.mark.parametrize("side", ["source", "target"])
def test_c02_a_key_outside_of_the_prefix_is_an_error(side: str) -> None:
    """A listing that answers with other keys than asked for is not gone on with."""
    mapping = KeyMapping(source_prefix="in/", target_prefix="in/")
    sides = {"source": listed("in/a"), "target": listed("in/a"), side: listed("in/a", "out")}
    with pytest.raises(ListingError, match="'out' is not under 'in/'"):
        list(diff(sides["source"], sides["target"], mapping=mapping))


def test_c01_a_listing_that_breaks_off_ends_the_merge_with_its_error() -> None:
    """What was yielded before is no result: the error comes through."""

    def broken() -> itertools.chain[ListedObject]:
        return itertools.chain(listed("a"), (1 / 0 for _ in "x"))  # type: ignore[misc]

    with pytest.raises(ZeroDivisionError):
        list(diff(broken(), listed("a", "b"), mapping=KeyMapping()))
    with pytest.raises(ZeroDivisionError):
        list(diff(listed("a", "b"), broken(), mapping=KeyMapping()))


@given(names=st.sets(NAMES, max_size=8), prefix=PREFIXES, other=PREFIXES)
def test_c04_the_mapping_of_keys_has_an_inverse_and_keeps_the_order(
    names: set[str], prefix: str, other: str
) -> None:
    """No two source keys meet, and the order of the bytes is the same on both sides."""
    mapping = KeyMapping(source_prefix=prefix, target_prefix=other)
    keys = sorted((prefix + name for name in names), key=str.encode)
    mapped = [mapping.to_target(key) for key in keys]
    assert [mapping.to_source(key) for key in mapped] == keys
    assert mapped == sorted(set(mapped), key=str.encode)
    assert all(key.startswith(other) for key in mapped)


def test_a_key_outside_of_the_mapping_has_no_place() -> None:
    """A key that is not under the prefix is an error, not a guess."""
    mapping = KeyMapping(source_prefix="in/", target_prefix="there/")
    with pytest.raises(ValueError, match="'out' is not under 'in/'"):
        mapping.to_target("out")
    with pytest.raises(ValueError, match="'in/x' is not under 'there/'"):
        mapping.to_source("in/x")


def only(source: ListedObject, rules: TargetRules) -> Action:
    """Return the action for one key that is at the source only."""
    (action,) = diff([source], [], mapping=KeyMapping(), rules=rules)
    return action


def test_keys_that_the_target_cannot_hold_are_refused_with_the_reason() -> None:
    """Each limit of the target has a reason of its own, on either side of the limit."""
    (long,), (large,) = listed("é" * 512), listed("k")
    assert only(long, TargetRules()).verb is Verb.COPY
    assert only(long, TargetRules(max_key_bytes=1023)).reason is Reason.KEY_TOO_LONG
    assert only(large, TargetRules(max_object_size=1)).verb is Verb.COPY
    assert only(large, TargetRules(max_object_size=0)).reason is Reason.TOO_LARGE
    for key in ("a//b", "/a", "./a", "a/../b", "a//", "/", "a\\b"):
        (odd,) = listed(key)
        assert only(odd, TargetRules()).verb is Verb.COPY
        refused = only(odd, TargetRules(folds_keys=True))
        assert (refused.verb, refused.reason) == (Verb.REFUSE, Reason.KEY_NOT_KEPT)


@given(key=NAMES)
def test_folding_a_folded_key_changes_nothing(key: str) -> None:
    """A key that was folded is one that the store keeps."""
    once = folded(key)
    assert folded(once) == once
    assert "//" not in once
    assert not once.startswith("/")


@pytest.mark.parametrize(
    "found", ["", "md5", "size+", "size+size", "SIZE", "size etag", None, 3, ["size"]]
)
def test_a_rule_that_nobody_knows_is_refused(found: object) -> None:
    """The message names the parameter, what was found and the words that are known."""
    with pytest.raises(InvalidInputError, match=r"rule: found .* accepted is 'size', 'etag'"):
        DiffRule.parse(found)


@given(rule=RULES)
def test_a_rule_is_written_as_it_is_read(rule: DiffRule) -> None:
    """The text in a manifest gives back the rule."""
    assert DiffRule.parse(rule.text) == rule
    assert DiffRule.parse("newer+etag").text == "size+etag+newer"
