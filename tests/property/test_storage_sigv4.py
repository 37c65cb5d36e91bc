"""Our signatures are botocore's, letter for letter, whatever is signed (both of its signers)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import pytest
from botocore.auth import AUTH_TYPE_MAPS, S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import ReadOnlyCredentials
from botocore.crt.auth import CrtS3SigV4Auth
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_s3resume.storage._s3_shapes import quoted_key
from airflow_provider_s3resume.storage._sigv4 import (
    NEVER_SIGNED,
    UNSIGNED,
    UNSIGNED_TRAILED,
    Signer,
    amz_date,
)
from tests.conformance.keys import ODD_KEYS, PREFIXES_OF_OTHERS

REGION, SERVICE = "eu-central-1", "s3"
HOST = "bucket.s3.eu-central-1.amazonaws.com"
SIGNERS = [CrtS3SigV4Auth, S3SigV4Auth]

letters = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=20)
values = st.one_of(
    letters,
    st.lists(letters, min_size=1, max_size=4).map("  ".join),
    st.lists(letters, min_size=1, max_size=4).map(" \t ".join),
    st.just(""),
)
keys = st.one_of(
    st.sampled_from([*ODD_KEYS, *PREFIXES_OF_OTHERS]),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40),
    st.text("/.+%2F ~*'()&=?#", min_size=1, max_size=12),
)
names = st.sampled_from(
    [
        "range",
        "if-match",
        "content-type",
        "content-md5",
        "content-length",
        "cache-control",
        "expires",
        "x-amz-meta-a",
        "x-amz-meta-a-b",
        "x-amz-meta-ab",
        "x-amz-tagging",
        "x-amz-checksum-crc64nvme",
        "x-amz-request-payer",
        *NEVER_SIGNED - {"authorization"},
    ]
)
headers = st.dictionaries(names, values, max_size=8)
queries = st.dictionaries(
    st.sampled_from(["versionId", "partNumber", "uploadId", "uploads", "x-id"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    max_size=4,
)
credentials = st.builds(
    ReadOnlyCredentials,
    st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", min_size=16, max_size=20),
    letters,
    st.none() | st.text("abcXYZ0189+/=", min_size=1, max_size=80),
)


def request_of(
    method: str, path: str, query: str, asked: Mapping[str, str], *, trailed: bool
) -> AWSRequest:
    """Return a request as botocore has it before it is signed."""
    url = f"https://{HOST}{path}" + (f"?{query}" if query else "")
    request = AWSRequest(method=method, url=url, headers=dict(asked))
    request.context["client_config"] = Config(s3={"payload_signing_enabled": False})
    if trailed:
        request.context["checksum"] = {"request_algorithm": {"in": "trailer"}}
    return request


def signed_by(auth: Any, request: AWSRequest) -> dict[str, str]:
    """Let botocore sign; return all headers by lower-case name."""
    auth.add_auth(request)
    return {name.lower(): value for name, value in request.headers.items()}


def signed_at(moment: str, creds: ReadOnlyCredentials, path: str, asked: Mapping[str, str]) -> str:
    """Let botocore's own signer sign at another time; return its signature."""
    auth: Any = S3SigV4Auth(creds, SERVICE, REGION)
    request = request_of("GET", path, "", asked, trailed=False)
    request.context["timestamp"] = moment
    auth._modify_request_before_signing(request)
    text = auth.string_to_sign(request, auth.canonical_request(request))
    auth._inject_signature_to_request(request, auth.signature(text, request))
    return str(request.headers["Authorization"])


def query_of(parameters: Mapping[str, str]) -> str:
    """Return a query as it is sent, sorted by name."""
    return "&".join(sorted(f"{n}={quote(v, safe='-_.~')}" for n, v in parameters.items()))


def test_botocore_signs_with_what_is_compared_here() -> None:
    """One of the two is what a client uses; the other where awscrt is not installed."""
    assert AUTH_TYPE_MAPS["s3v4"] in SIGNERS


@pytest.mark.parametrize("signer", SIGNERS)
@given(
    method=st.sampled_from(["GET", "PUT"]),
    key=keys,
    parameters=queries,
    given_headers=headers,
    creds=credentials,
    trailed=st.booleans(),
)
def test_a_signature_is_botocores(
    signer: type[Any],
    method: str,
    key: str,
    parameters: dict[str, str],
    given_headers: dict[str, str],
    creds: ReadOnlyCredentials,
    *,
    trailed: bool,
) -> None:
    """For any key, query, headers and credentials, with and without a trailer."""
    path, query = f"/{quoted_key(key)}", query_of(parameters)
    request = request_of(method, path, query, given_headers, trailed=trailed)
    theirs = signed_by(signer(creds, SERVICE, REGION), request)
    ours = Signer(REGION, SERVICE).sign(
        method,
        path,
        query,
        {**given_headers, "host": HOST},
        UNSIGNED_TRAILED if trailed else UNSIGNED,
        creds,
        theirs["x-amz-date"],
    )
    assert ours == {name: theirs[name] for name in ours}
    # Nothing is left out either.
    assert set(theirs) <= {*ours, *given_headers, "host"}


@given(
    given_headers=headers,
    uses=st.lists(
        st.tuples(
            st.sampled_from(
                [
                    ReadOnlyCredentials("AKIDONE", "one", None),
                    ReadOnlyCredentials("AKIDTWO", "two", "token"),
                    ReadOnlyCredentials("AKIDTWO", "two", "renewed"),
                ]
            ),
            st.sampled_from(
                ["20260101T235959Z", "20260102T000000Z", "20260102T000001Z", "20240229T120000Z"]
            ),
        ),
        min_size=2,
        max_size=6,
    ),
)
def test_what_is_kept_is_renewed_with_the_day_and_the_secret(
    given_headers: dict[str, str], uses: list[tuple[ReadOnlyCredentials, str]]
) -> None:
    """One signer signs by turns for several credentials and days, each as botocore does."""
    ours = Signer(REGION, SERVICE)
    for creds, moment in uses:
        asked = {**given_headers, "host": HOST}
        made = ours.sign("GET", "/k", "", asked, UNSIGNED, creds, moment)
        assert made["authorization"] == signed_at(moment, creds, "/k", given_headers)
        assert made["x-amz-date"] == moment
        assert made.get("x-amz-security-token") == creds.token


def test_the_example_of_the_documentation() -> None:
    """It is "GET Object" in "Authenticating Requests: Using the Authorization Header"."""
    creds = ReadOnlyCredentials(
        "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", None
    )
    made = Signer("us-east-1", "s3").sign(
        "GET",
        "/test.txt",
        "",
        {"host": "examplebucket.s3.amazonaws.com", "range": "bytes=0-9"},
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        creds,
        "20130524T000000Z",
    )
    assert made["authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
        "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
        "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    )


def test_a_request_is_signed_for_the_moment() -> None:
    """Without another time it is now, in UTC, to the second."""
    creds, signer = ReadOnlyCredentials("AKID", "secret", None), Signer(REGION, SERVICE)
    before = amz_date(time.time())
    made = signer.sign("GET", "/k", "", {"host": HOST}, UNSIGNED, creds)
    assert before <= made["x-amz-date"] <= amz_date(time.time())
    assert made["authorization"] == signed_at(made["x-amz-date"], creds, "/k", {})
    assert amz_date(0) == "19700101T000000Z"


def test_threads_share_a_signer() -> None:
    """None gets the key that another one's credentials or day have."""
    signer = Signer(REGION, SERVICE)
    cases = [
        (ReadOnlyCredentials(f"AKID{number % 3}", f"secret{number % 3}", None), f"2026010{day}")
        for number in range(3)
        for day in range(1, 4)
    ]

    def sign(number: int) -> tuple[str, str]:
        creds, day = cases[number % len(cases)]
        moment = f"{day}T000000Z"
        made = signer.sign("GET", "/k", "", {"host": HOST}, UNSIGNED, creds, moment)
        return made["authorization"], signed_at(moment, creds, "/k", {})

    with ThreadPoolExecutor(4) as threads:
        for ours, theirs in threads.map(sign, range(400)):
            assert ours == theirs
