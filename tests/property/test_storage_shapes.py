"""Parameters and headers are called on the wire what botocore calls them, both ways."""

from __future__ import annotations

import functools
import io
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qs, quote

import boto3
import pytest
from botocore.awsrequest import HeadersDict
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from botocore.utils import percent_encode, percent_encode_sequence
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_s3resume.plan.digests import Checksum, ChecksumAlgorithm
from airflow_provider_s3resume.plan.objects import (
    ByteRange,
    ContentAttributes,
    SourceIdentity,
)
from airflow_provider_s3resume.storage._s3_headers import (
    CHECKSUM_PARAMETERS,
    checksum_parameters,
    condition_parameters,
    identity_parameters,
    upload_parameters,
)
from airflow_provider_s3resume.storage._s3_shapes import Shapes, quoted_key
from airflow_provider_s3resume.storage.base import Condition, NewUpload, WriteOptions
from tests.conformance.keys import ODD_KEYS, PREFIXES_OF_OTHERS

if TYPE_CHECKING:
    from botocore.model import OperationModel, Shape

OPERATIONS = ["GetObject", "PutObject", "UploadPart"]
MOMENT = datetime(2026, 1, 1, tzinfo=UTC)

words = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=20)
texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)
pairs = st.dictionaries(st.text("abcxyz-019", min_size=1, max_size=8), texts, max_size=3)
attributes = st.builds(
    ContentAttributes,
    content_type=st.none() | words,
    content_encoding=st.none() | words,
    content_language=st.none() | words,
    content_disposition=st.none() | words,
    cache_control=st.none() | words,
    website_redirect=st.none() | words,
    metadata=pairs,
    tags=pairs,
)
options = st.builds(
    WriteOptions,
    storage_class=st.none() | st.sampled_from(["STANDARD", "STANDARD_IA", "GLACIER_IR"]),
    encryption=st.none() | st.sampled_from(["AES256", "aws:kms"]),
    kms_key_id=st.none() | words,
)
checksums = st.none() | st.builds(
    Checksum, algorithm=st.sampled_from([*CHECKSUM_PARAMETERS, ChecksumAlgorithm.MD5]), value=words
)
conditions = st.none() | st.just(Condition(absent=True)) | st.builds(Condition, etag=words)
identities = st.builds(
    SourceIdentity,
    etag=st.none() | words,
    size=st.integers(0, 10),
    version_id=st.none() | texts,
)
payers = st.sampled_from([{}, {"RequestPayer": "requester"}])


@functools.cache
def model_of(operation: str) -> OperationModel:
    """Return botocore's model of an operation."""
    client = boto3.client("s3", region_name="us-east-1")
    model: OperationModel = client.meta.service_model.operation_model(operation)
    return model


def compare(operation: str, parameters: Mapping[str, Any]) -> None:
    """Have both make headers and a query of parameters."""
    model, shapes = model_of(operation), Shapes(model_of(operation))
    stands = {"Bucket": "bucket", "Key": "key", **parameters}
    theirs = create_serializer("rest-xml").serialize_to_request(stands, model)
    ours = shapes.headers(parameters)
    assert ours == {name.lower(): value for name, value in theirs["headers"].items()}
    query = shapes.query(parameters)
    assert query == percent_encode_sequence(dict(sorted(theirs["query_string"].items())))
    assert shapes.method == theirs["method"]
    assert query.count("&") == max(0, len(parse_qs(query, keep_blank_values=True)) - 1)


@given(own=attributes, chosen=options, checksum=checksums, condition=conditions, payer=payers)
def test_a_put_is_asked_for_as_botocore_does(
    own: ContentAttributes,
    chosen: WriteOptions,
    checksum: Checksum | None,
    condition: Condition | None,
    payer: Mapping[str, str],
) -> None:
    """Attributes, metadata, tags, storage class, encryption, checksums and conditions."""
    parameters = {
        **upload_parameters(NewUpload(attributes=own, options=chosen)),
        **checksum_parameters(checksum, "PutObject", "s3://b/k"),
        **condition_parameters(condition),
        **payer,
    }
    compare("PutObject", parameters)


@given(
    identity=identities,
    span=st.none() | st.builds(ByteRange, start=st.integers(0, 9), stop=st.integers(10, 2**50)),
    payer=payers,
)
def test_a_get_is_asked_for_as_botocore_does(
    identity: SourceIdentity, span: ByteRange | None, payer: Mapping[str, str]
) -> None:
    """Ranges, conditions and versions, the oddest ones included."""
    ranged = {"Range": span.http} if span is not None else {}
    compare("GetObject", {**identity_parameters(identity), **ranged, **payer})


@given(
    upload_id=texts,
    number=st.integers(1, 10_000),
    checksum=checksums,
    payer=payers,
)
def test_a_part_is_asked_for_as_botocore_does(
    upload_id: str, number: int, checksum: Checksum | None, payer: Mapping[str, str]
) -> None:
    """Its upload and number stand in the query, sorted by name."""
    found = checksum_parameters(checksum, "UploadPart", "s3://b/k")
    compare("UploadPart", {"UploadId": upload_id, "PartNumber": number, **found, **payer})


@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_an_operation_does_not_have_is_no_header_of_it(operation: str) -> None:
    """A name that is spelt wrongly would else be left out in silence."""
    with pytest.raises(KeyError, match="NoSuchThing"):
        Shapes(model_of(operation)).headers({"NoSuchThing": "x"})


@given(key=st.sampled_from([*ODD_KEYS, *PREFIXES_OF_OTHERS]) | texts)
def test_c04_a_key_is_quoted_as_botocore_quotes_it(key: str) -> None:
    """Slashes and tildes stay, all else that is not plain is encoded, per cent signs too."""
    assert quoted_key(key) == percent_encode(key, safe="/~")
    assert quoted_key("a%2Fb//../c+d ~") == "a%252Fb//../c%2Bd%20~"


def said(operation: str) -> st.SearchStrategy[dict[str, str]]:
    """Draw the headers of an answer: any that the operation knows, metadata, and others."""
    by_type = {
        "integer": st.integers(0, 10_000).map(str),
        "long": st.integers(0, 2**45).map(str),
        "boolean": st.sampled_from(["true", "false"]),
        "timestamp": st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)).map(  # noqa: DTZ001 - made aware next
            lambda moment: format_datetime(moment.replace(microsecond=0, tzinfo=UTC), usegmt=True)
        ),
    }
    known: dict[str, st.SearchStrategy[str]] = {}
    shape: Any = model_of(operation).output_shape
    for member in shape.members.values():
        given_in = member.serialization
        # Written in another way than HTTP's; nothing here reads it.
        is_iso = given_in.get("timestampFormat") == "iso8601"
        if given_in.get("location") == "header" and not is_iso:
            known[given_in["name"].lower()] = by_type.get(member.type_name, words)
    others = {
        "x-amz-meta-a": words,
        "x-amz-meta-b-c": texts,
        "x-amz-meta-": words,
        "date": words,
        "x-other": words,
    }
    return st.fixed_dictionaries({}, optional={**known, **others})


@pytest.mark.parametrize("operation", OPERATIONS)
@given(data=st.data())
def test_an_answer_is_read_as_botocore_reads_it(operation: str, data: st.DataObject) -> None:
    """Header by header, in its type; metadata without the prefix."""
    headers = data.draw(said(operation))
    model = model_of(operation)
    theirs: dict[str, Any] = create_parser("rest-xml").parse(
        {
            "status_code": 200,
            "headers": HeadersDict(headers),
            "body": io.BytesIO() if operation == "GetObject" else b"",
            "context": {"operation_name": operation},
        },
        cast("Shape", model.output_shape),
    )
    del theirs["ResponseMetadata"]
    theirs.pop("Body", None)
    ours = Shapes(model).answer(headers)
    assert ours == theirs
    assert {name: type(value) for name, value in ours.items()} == {
        name: type(value) for name, value in theirs.items()
    }


def moment_of(text: str) -> Any:
    """Return how a header's time is read."""
    return Shapes(model_of("GetObject")).answer({"last-modified": text})["LastModified"]


@pytest.mark.parametrize(
    "text",
    [
        "Thu, 01 Jan 2026 00:00:00 GMT",
        "Thursday, 01-Jan-26 00:00:00 GMT",
        "Thu, 1 Jan 2026 00:00:00 GMT",
        "Thu, 01 Jan 2026 01:00:00 +0100",
    ],
)
def test_times_in_the_forms_of_http_are_read(text: str) -> None:
    """Services and proxies write them in several ways (RFC 9110, 5.6.7)."""
    assert moment_of(text) == MOMENT


@pytest.mark.parametrize("text", ["", "never", "Thu, 99 Jan 2026 00:00:00 GMT", "\u20ac"])
def test_a_time_that_is_none_is_told_as_none(text: str) -> None:
    """An object with such a header can be read all the same; its time is unknown."""
    found = moment_of(text)
    assert found is None


@given(text=texts)
def test_no_header_of_a_time_breaks_an_answer(text: str) -> None:
    """Whatever stands there: a time, or nothing."""
    found = moment_of(text)
    assert found is None or isinstance(found, datetime)


@given(value=texts, name=st.sampled_from(["UploadId", "VersionId"]))
def test_a_query_says_exactly_the_value(value: str, name: str) -> None:
    """Upload ids and versions are opaque."""
    operation = "UploadPart" if name == "UploadId" else "GetObject"
    query = Shapes(model_of(operation)).query({name: value})
    assert parse_qs(query)[name[0].lower() + name[1:]] == [value]
    assert quote(value, safe="-_.~") in query
