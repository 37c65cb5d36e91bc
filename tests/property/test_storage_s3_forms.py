"""Heads that are put together from forms are those of the signer and of ``request_head``."""

from __future__ import annotations

from unittest.mock import patch

import pytest
from botocore.credentials import ReadOnlyCredentials
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_s3resume.storage import _s3_forms
from airflow_provider_s3resume.storage._heads import request_head
from airflow_provider_s3resume.storage._s3_forms import Forms
from airflow_provider_s3resume.storage._sigv4 import UNSIGNED, UNSIGNED_TRAILED, Signer

FIXED = {"user-agent": "Boto3/1 100%s", "host": "h:9000", "x-percent": "50% a  b"}
NAMES = st.sampled_from(
    ["content-length", "if-match", "range", "x-amz-meta-%s", "content-type", "host", "expect"]
)
VALUES = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=20)
GIVEN = st.dictionaries(NAMES, VALUES)
CREDENTIALS = st.builds(
    ReadOnlyCredentials, st.just("AKID"), st.sampled_from(["s1", "s2"]), st.sampled_from(["", "t"])
)


def expected(
    method: str,
    target: tuple[str, str],
    headers: dict[str, str],
    payload: str,
    credentials: ReadOnlyCredentials,
    signer: Signer | None,
) -> bytes:
    """Return the head as it is made without forms."""
    path, query = target
    wholly = {**FIXED, **headers}
    if signer is not None:
        wholly.update(signer.sign(method, path, query, wholly, payload, credentials))
    wholly["accept-encoding"] = "identity"
    return request_head(method, f"{path}?{query}" if query else path, wholly)


@settings(max_examples=300)
@given(
    st.lists(st.tuples(GIVEN, CREDENTIALS, st.sampled_from([UNSIGNED, UNSIGNED_TRAILED]))),
    st.sampled_from(["k", "a%2Fb", "%s"]),
    st.sampled_from(["", "versionId=1"]),
    st.sampled_from([None, Signer("r", "s3")]),
)
def test_a_form_makes_what_is_made_without_one(
    calls: list[tuple[dict[str, str], ReadOnlyCredentials, str]],
    key: str,
    query: str,
    signer: Signer | None,
) -> None:
    """Whatever is given, in whatever order of calls, each head is the same to the letter."""
    forms = Forms("PUT", "/b%/", FIXED, signer)
    for headers, credentials, payload in calls:
        with patch.object(Signer, "now", return_value="20260102T030405Z"):
            made = forms.head(key, query, headers, payload, credentials)
            target = ("/b%/" + key, query)
            assert made == expected("PUT", target, headers, payload, credentials, signer)


@pytest.mark.parametrize("what", ["\r", "\n", "\0", "\r\nx: y"])
@pytest.mark.parametrize("where", ["name", "value", "query"])
@pytest.mark.parametrize("known", [False, True])
def test_c42_what_would_be_another_line_is_refused_unsaid(
    what: str, where: str, *, known: bool
) -> None:
    """Also where a request of the same form was fine."""
    forms = Forms("PUT", "/b/", FIXED, None)
    credentials = ReadOnlyCredentials("a", "s", None)
    if known:
        forms.head("k", "", {"x-amz-meta-a": "fine"}, UNSIGNED, credentials)
    text = {"name": "x-amz-meta-a", "value": "b", "query": "", where: f"w0rd{what}w0rd"}
    with pytest.raises(ValueError, match="Invalid header value") as caught:
        forms.head("k", text["query"], {text["name"]: text["value"]}, UNSIGNED, credentials)
    assert "w0rd" not in str(caught.value)


def test_forms_are_forgotten_where_each_object_has_another() -> None:
    """Names of metadata may be others for each object: memory stays bounded."""
    forms = Forms("PUT", "/b/", FIXED, Signer("r", "s3"))
    credentials = ReadOnlyCredentials("a", "s", None)
    for number in range(1000):
        head = forms.head("k", "", {f"x-amz-meta-{number}": "v"}, UNSIGNED, credentials)
        assert f"x-amz-meta-{number}: v\r\n".encode() in head
    assert len(forms._forms) <= _s3_forms._MOST
