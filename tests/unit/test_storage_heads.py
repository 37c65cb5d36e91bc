"""Heads of HTTP messages: what is sent is one request, what is answered can be read in one way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_s3resume.exceptions import StoreError
from airflow_provider_s3resume.storage._heads import (
    END,
    Head,
    ProtocolError,
    is_interim,
    is_telling,
    parse_head,
    request_head,
)
from airflow_provider_s3resume.storage._s3_errors import translated
from tests.support.wire_direct import everything_in

OK = b"HTTP/1.1 200 OK"
TOKENS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-.^_`|~"


def parsed(*lines: bytes, method: str = "GET", status: bytes = OK) -> Head:
    """Return what is read of a head with these lines."""
    return parse_head(b"\r\n".join([status, *lines]), method)


def test_a_request_is_sent_as_it_stands() -> None:
    """In the order given, with values as they are, blanks included."""
    headers = {"host": "h:1", "x-amz-meta-a": "b  c", "x-empty": ""}
    assert request_head("PUT", "/b/k?x=1", headers) == (
        b"PUT /b/k?x=1 HTTP/1.1\r\nhost: h:1\r\nx-amz-meta-a: b  c\r\nx-empty: \r\n\r\n"
    )


@pytest.mark.parametrize("what", ["a\nb", "a\rb", "a\r\nx-injected: b", "a\0b", "\n", "a\r\n\r\n"])
@pytest.mark.parametrize("where", ["method", "target", "name", "value"])
def test_c42_what_would_be_another_line_is_refused_unsaid(what: str, where: str) -> None:
    """Whatever is sent is one request; the error is known as one of headers that cannot be sent."""
    secret = f"w0rd{what}w0rd"
    given_ = {"method": "GET", "target": "/", "name": "a", "value": "b", where: secret}
    with pytest.raises(StoreError, match="cannot be sent") as caught, translated("GetObject", "s"):
        request_head(given_["method"], given_["target"], {given_["name"]: given_["value"]})
    assert type(caught.value) is StoreError
    assert not caught.value.retryable
    assert "w0rd" not in everything_in(caught.value)


def test_c42_what_cannot_be_encoded_is_refused_unsaid() -> None:
    """Nothing of the head is in the error, nor in what it was raised from or beside."""
    headers = {"authorization": "w0rd", "x-amz-meta-a": "b\udce9"}
    with pytest.raises(StoreError, match="cannot be sent") as caught, translated("PutObject", "s"):
        request_head("PUT", "/", headers)
    assert type(caught.value) is StoreError
    assert not caught.value.retryable
    assert "w0rd" not in everything_in(caught.value)


def test_an_answers_head_is_read() -> None:
    """Names in lower case, values without the blanks around them."""
    head = parsed(b'ETag: "e"', b"Content-Length:\t12 ", b"X-Amz-Meta-A:b  c", b"X-Empty:")
    assert head == Head(
        status=200,
        headers={"etag": '"e"', "content-length": "12", "x-amz-meta-a": "b  c", "x-empty": ""},
        length=12,
        chunked=False,
        keeps=True,
    )


@pytest.mark.parametrize(
    ("first", "status"),
    [
        (b"HTTP/1.1 200 OK", 200),
        (b"HTTP/1.1 206", 206),
        (b"HTTP/1.1 404 ", 404),
        (b"HTTP/1.1 503 Slow Down: please", 503),
        (b"HTTP/1.0 200 OK", 200),
        (b"HTTP/1.1 200 \xe9t\xe9", 200),
    ],
)
def test_a_status_may_have_a_reason(first: bytes, status: int) -> None:
    """Any, or none."""
    assert parse_head(first, "GET").status == status
    assert parse_head(first + b"\r\nA: b", "GET").headers == {"a": "b"}


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"HTTP/1.1",
        b"HTTP/1.1 20",
        b"HTTP/1.1 2000",
        b"HTTP/1.1 099 Low",
        b"HTTP/1.1 abc",
        b"HTTP/1.1  200 OK",
        b"HTTP/1.2 200 OK",
        b"HTTP/2 200",
        b"http/1.1 200 OK",
        b" HTTP/1.1 200 OK",
        b"\r\nHTTP/1.1 200 OK",
        b"HTTP/1.1 200 O\nK",
        b"HTTP/1.1 200 O\rK",
        b"HTTP/1.1 200\tOK",
        b"SSH-2.0-OpenSSH",
        b"<html>",
    ],
)
def test_what_is_no_status_is_no_answer(first: bytes) -> None:
    """It may be the rest of another answer, or another protocol."""
    with pytest.raises(ProtocolError, match=r"no HTTP answer|none"):
        parse_head(first + b"\r\nContent-Length: 0", "GET")


@pytest.mark.parametrize(
    "line",
    [
        b" folded: to the line before",
        b"\tfolded",
        b"no colon",
        b": no name",
        b"name : blank before the colon",
        b"na me: blank in it",
        b"name\t: tab before the colon",
        b"a: b\nc: d",
        b"a: b\rc: d",
        b"\na: b",
        b"",
    ],
)
@pytest.mark.parametrize("before", [(), (b"ETag: x",)])
def test_a_line_that_could_be_read_in_two_ways_is_refused(
    line: bytes, before: tuple[bytes, ...]
) -> None:
    """Folded lines, blanks around names, bare line feeds: others may read them otherwise."""
    for lines in ((*before, line), (*before, line, b"Content-Length: 5")):
        with pytest.raises(ProtocolError):
            parsed(*lines)


@pytest.mark.parametrize(
    "text", ["voil\u00e0", "\u00c5", "\u00e0 la", "a\u2026", "a\x1c", "\x85", "\xa0"]
)
def test_a_value_is_kept_to_its_last_byte(text: str) -> None:
    """Only blanks and tabs are blanks around it; services send metadata as UTF-8."""
    head = parsed(b"X-Amz-Meta-A: " + text.encode())
    assert head.headers["x-amz-meta-a"].encode("latin-1").decode() == text


def test_what_comes_several_times_is_joined() -> None:
    """By commas, in order, whatever the case of the name (RFC 9110, 5.3)."""
    head = parsed(b"Vary: a", b"ETag: x", b"vary: b", b"VARY:", b"vary: c")
    assert head.headers == {"vary": "a, b, , c", "etag": "x"}


@pytest.mark.parametrize(
    ("lines", "length"),
    [
        ((b"Content-Length: 0",), 0),
        ((b"Content-Length: 5", b"Content-Length: 5"), 5),
        ((b"Content-Length: 5, 5",), 5),
        ((b"Content-Length: 5497558138880",), 5 << 40),
        ((), None),
    ],
)
def test_a_length_is_read(lines: tuple[bytes, ...], length: int | None) -> None:
    """A proxy may repeat it."""
    assert parsed(*lines).length == length


@pytest.mark.parametrize(
    "lines",
    [
        (b"Content-Length: 5", b"Content-Length: 6"),
        (b"Content-Length: 5, 6",),
        (b"Content-Length: 5, 05",),
        (b"Content-Length: 5,",),
        (b"Content-Length: -5",),
        (b"Content-Length: +5",),
        (b"Content-Length: 5.0",),
        (b"Content-Length: 0x5",),
        (b"Content-Length: 5 5",),
        (b"Content-Length: \xb2",),
        (b"Content-Length: 1_0",),
        (b"Content-Length:",),
        (b"Content-Length: " + b"9" * 20,),
    ],
)
def test_a_length_that_could_be_another_is_refused(lines: tuple[bytes, ...]) -> None:
    """Two that differ, signs, and what is no decimal number."""
    with pytest.raises(ProtocolError, match="content-length"):
        parsed(*lines)


@pytest.mark.parametrize(
    "coding", [b"gzip, chunked", b"identity", b"chunked, chunked", b"xchunked"]
)
def test_a_transfer_encoding_other_than_chunks_is_refused(coding: bytes) -> None:
    """Nobody asked for one, and the body's end would be a guess."""
    with pytest.raises(ProtocolError, match="transfer-encoding"):
        parsed(b"Transfer-Encoding: " + coding)


def test_chunks_come_before_a_length() -> None:
    """RFC 9112, 6.3: the length counts for nothing then."""
    head = parsed(b"Content-Length: 5", b"Transfer-Encoding: Chunked")
    assert (head.chunked, head.length, head.keeps) == (True, None, True)


@pytest.mark.parametrize(
    ("status", "lines", "keeps"),
    [
        (OK, (b"Content-Length: 5",), True),
        (OK, (b"Content-Length: 5", b"Connection: keep-alive"), True),
        (OK, (b"Content-Length: 5", b"Connection: close"), False),
        (OK, (b"Content-Length: 5", b"Connection: Close"), False),
        (OK, (b"Content-Length: 5", b"Connection: x, close"), False),
        (OK, (b"Content-Length: 5", b"Connection: x", b"Connection: close"), False),
        (OK, (), False),
        (b"HTTP/1.0 200 OK", (b"Content-Length: 5",), False),
        (b"HTTP/1.1 204 No Content", (), True),
    ],
)
def test_a_connection_is_kept_if_the_body_ends_by_itself(
    status: bytes, lines: tuple[bytes, ...], *, keeps: bool
) -> None:
    """And nobody says that it ends."""
    assert parsed(*lines, status=status).keeps is keeps


@pytest.mark.parametrize(
    ("method", "status"),
    [("HEAD", OK), ("GET", b"HTTP/1.1 204 No Content"), ("GET", b"HTTP/1.1 304 Same")],
)
@pytest.mark.parametrize("line", [b"Content-Length: 5", b"Transfer-Encoding: chunked", b"A: b"])
def test_some_answers_have_no_body_whatever_they_say(
    method: str, status: bytes, line: bytes
) -> None:
    """Answers to HEAD, 204 and 304 (RFC 9112, 6.3)."""
    head = parsed(line, method=method, status=status)
    assert (head.length, head.chunked, head.keeps) == (0, False, True)


def test_interim_answers_are_told_from_the_one_that_counts() -> None:
    """By the first ten bytes; fewer say nothing."""
    assert is_interim(b"HTTP/1.1 100 Continue") is is_interim(b"HTTP/1.0 103 Hints") is True
    assert is_interim(b"HTTP/1.1 503 Slow") is is_interim(b"HTTP/1.1 ") is False
    assert is_telling(b"HTTP/1.1 1") is is_telling(bytearray(b"HTTP/1.1 20")) is True
    assert is_telling(b"HTTP/1.1 ") is False


@given(
    st.lists(
        st.tuples(
            st.text(TOKENS, min_size=1, max_size=12),
            st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=20),
        ),
        max_size=8,
    )
)
def test_what_a_server_may_send_is_read(lines: list[tuple[str, str]]) -> None:
    """Any name that is one, any value that can be seen; each line is one header."""
    lines = [("x-" + name, value) for name, value in lines]
    data = b"\r\n".join([OK, *(f"{name}: {value}".encode() for name, value in lines)])
    expected: dict[str, list[str]] = {}
    for name, value in lines:
        expected.setdefault(name.lower(), []).append(value)
    headers = parse_head(data, "GET").headers
    assert headers == {name: ", ".join(found) for name, found in expected.items()}


@given(st.binary(max_size=60), st.sampled_from([b"", OK + b"\r\n", OK + b"\r\nA: b\r\n"]))
def test_nothing_but_a_refusal_comes_of_rubbish(rubbish: bytes, before: bytes) -> None:
    """Whatever bytes come: a head, or a ProtocolError."""
    try:
        head = parse_head((before + rubbish).split(END)[0], "GET")
    except ProtocolError:
        return
    assert all("\r" not in value and "\n" not in value for value in head.headers.values())
