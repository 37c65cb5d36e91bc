"""The connections of OSS take nothing from their surroundings and give no secret away (c42)."""

from __future__ import annotations

import dataclasses
import importlib
import logging
import logging.config
import socket
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import oss2
import pytest

from airflow_provider_s3resume.exceptions import (
    AccessDeniedError,
    CredentialsExpiredError,
    StoreError,
    TransientStoreError,
)
from airflow_provider_s3resume.plan.objects import SourceIdentity
from airflow_provider_s3resume.storage.oss import OSSSettings, OSSStore, make_bucket
from tests.support.oss_faults import Fault
from tests.support.oss_server import OSSServer
from tests.support.oss_world import OSSWorld, read_all
from tests.support.ports import free_port
from tests.support.processes import wait_until
from tests.support.tls import make_certificate

TOKEN = "CAISzgJ1q6Ft5B2yfSjIr5fSGv3zj7oR8oKKaHWFnDZnd0pUOZkKyGEPpFfYxKhsDmRLXwDGYdPcDz9VyLbmJ"
ROLE_KEY = "STS.NUgYrLnoC37mZZCNnAbez"
SECRET = "role-secret-3xample"
NOT_TO_BE_SEEN = (
    TOKEN,
    ROLE_KEY,
    SECRET,
    "LTAI5t",
    "OSS4-HMAC-SHA256",
    "aliyun_v4_request",
    "authorization",
    "security-token",
    "string to be signed",
    "stringtosign",
    "signature=",
)


@pytest.fixture
def everything(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Capture every record that any logger lets through, the root logger being at DEBUG."""
    levels = {
        name: logging.getLogger(name).level
        for name in logging.root.manager.loggerDict
        if name.startswith(("oss2", "urllib3", "requests"))
    }
    with caplog.at_level(logging.DEBUG):
        yield caplog
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def _fail(store: OSSStore) -> list[str]:
    """Make the calls that a wrong signature fails; return what their errors tell."""
    told = []
    for call in (
        store.check_access,
        lambda: store.head("k"),
        lambda: store.get_tags("k"),
        lambda: read_all(store, "k"),
    ):
        with pytest.raises(AccessDeniedError) as caught:
            call()
        told += traceback.format_exception(caught.value)
    return told


def _use(oss: OSSWorld) -> list[str]:
    """Use a store in all ways, with a role's credentials; return what its errors tell."""
    role = oss.temporary(ROLE_KEY, SECRET, TOKEN)
    store = oss.store(endpoint=role)
    oss.put("k", b"data", content_encoding="gzip")
    oss.server.state.put_symlink(oss.bucket, "link", "k")
    store.check_access()
    assert len(list(store.list_objects())) == 2
    assert read_all(store, "k") == b"data"
    assert store.get_tags("k") == {}
    told = _fail(oss.store(endpoint=dataclasses.replace(role, access_key_secret="wrong")))
    for kind in ("expired_token", "redirect", "reset", "unavailable", "broken_xml"):
        oss.fault(Fault(kind=kind, after_bytes=None))
        with pytest.raises(StoreError) as caught:
            store.check_access()
        told += traceback.format_exception(caught.value)
    return told


def _seen(text: str) -> list[str]:
    return [secret for secret in NOT_TO_BE_SEEN if secret.lower() in text.lower()]


def test_c42_no_secret_is_logged_or_told(
    oss: OSSWorld, everything: pytest.LogCaptureFixture
) -> None:
    """With the root logger at DEBUG, neither logs nor errors hold keys, tokens or signatures."""
    told = _use(oss)
    assert "GET /source-bucket/" in everything.text
    assert "SignatureDoesNotMatch" in "".join(told)
    assert _seen(everything.text) == []
    assert _seen("".join(told)) == []


def test_c42_a_logging_configuration_brings_no_secret_back(
    oss: OSSWorld, everything: pytest.LogCaptureFixture
) -> None:
    """Loggers of the SDK that are set to DEBUG later still keep their secrets."""
    loggers = {name: {"level": "DEBUG"} for name in ("oss2", "oss2.http", "oss2.auth")}
    logging.config.dictConfig(
        {"version": 1, "incremental": True, "loggers": loggers, "root": {"level": "DEBUG"}}
    )
    _use(oss)
    assert _seen(everything.text) == []
    logging.getLogger("oss2.http").warning("a warning")
    assert "a warning" in everything.text


def test_c42_without_the_filter_there_would_be_secrets(
    oss: OSSWorld, everything: pytest.LogCaptureFixture
) -> None:
    """What the tests above look for is there to be seen, once the guard is taken away."""
    session = importlib.import_module("airflow_provider_s3resume.storage._oss_session")
    for name in ("oss2.api", "oss2.auth", "oss2.http"):
        logger = logging.getLogger(name)
        logger.removeFilter(session._FILTER)
        logger.setLevel(logging.DEBUG)
    try:
        _use(oss)
    finally:
        session.silence_sdk()
    assert {TOKEN, "security-token", "string to be signed"} <= set(_seen(everything.text))


@pytest.mark.usefixtures("everything")
def test_every_logger_of_the_sdk_is_guarded() -> None:
    """Each module of the SDK that has a logger has one that gives out warnings only."""
    folder = Path(oss2.__file__).parent
    named = {
        f"oss2.{file.stem}" if file.stem != "__init__" else "oss2"
        for file in folder.glob("*.py")
        if "getLogger" in file.read_text("utf-8")
    }
    assert len(named) > 8
    for name in named:
        logger = logging.getLogger(name)
        assert not logger.isEnabledFor(logging.INFO), name
        assert logger.filters, name


def test_an_error_longer_than_the_sdk_reads_is_understood(oss: OSSWorld) -> None:
    """A refused signature comes with all that was signed, and is known by its code all the same."""
    wrong = dataclasses.replace(oss.endpoint, access_key_secret="wrong")
    key = "\u65e5" * 340
    with pytest.raises(AccessDeniedError, match="SignatureDoesNotMatch"):
        oss.store(endpoint=wrong).get_tags(key)


def test_signatures_of_version_1_work_too(oss: OSSWorld) -> None:
    """Older buckets and accounts take them, tokens included."""
    role = oss.temporary(ROLE_KEY, SECRET, TOKEN)
    auth = oss2.StsAuth(ROLE_KEY, SECRET, TOKEN, "v1")
    bucket = make_bucket(auth, role.endpoint_url, oss.bucket, None, OSSSettings())
    store = OSSStore(bucket, service=role.endpoint_url)
    oss.put("k 1", b"data")
    assert [one.key for one in store.list_objects("k ")] == ["k 1"]
    assert read_all(store, "k 1") == b"data"
    assert oss.last("GetObject").access_key_id == ROLE_KEY


def test_an_expired_token_says_so(oss: OSSWorld) -> None:
    """It is an error that a refresh may help."""
    oss.fault(Fault(kind="expired_token", times=2))
    for call in (lambda: oss.store().head("k"), oss.store().check_access):
        with pytest.raises(CredentialsExpiredError):
            call()


def _everything_in(error: BaseException) -> str:
    """Return what an error, and all that it was raised from or beside, can be made to tell."""
    told, waiting, seen = "", [error], set[int]()
    while waiting:
        one = waiting.pop()
        seen.add(id(one))
        told += "".join(traceback.format_exception(one)) + f"{one} {one!r} {one.args} {vars(one)}"
        told += str(getattr(one, "object", ""))
        following = (one.__cause__, one.__context__, getattr(one, "exception", None), *one.args)
        waiting += [e for e in following if isinstance(e, BaseException) and id(e) not in seen]
    return told


@pytest.mark.parametrize(
    ("access_key_id", "token"),
    [
        ("key-0123", "w0rd-not-to-be-told\n"),
        ("key-0123", "w0rd-not-to-be-told\r\nx-oss-other: 1"),
        ("key-0123", " w0rd-not-to-be-told"),
        ("key-0123", "w0rd-not-to-be-told\u2028"),
        ("key-0123", "w0rd-not-to-be-told\udce9"),
        ("w0rd-not-to-be-told\n", "token"),
        ("w0rd-not-to-be-told\u20ac", ""),
    ],
)
def test_c42_credentials_that_cannot_be_sent_are_not_told(
    oss: OSSWorld, access_key_id: str, token: str, everything: pytest.LogCaptureFixture
) -> None:
    """Not even ones that look like nothing; the error says what to look for, and is for good."""
    role = dataclasses.replace(
        oss.endpoint, access_key_id=access_key_id, access_key_secret=SECRET, security_token=token
    )
    store = oss.store(endpoint=role)
    for call in (
        store.check_access,
        lambda: list(store.list_objects()),
        lambda: store.head("k"),
        lambda: store.get_tags("k"),
        lambda: store.open_range("k", None, SourceIdentity(etag=None, size=1)),
    ):
        with pytest.raises(StoreError, match="end with a line break") as caught:
            call()
        assert type(caught.value) is StoreError
        assert not caught.value.retryable
        logging.getLogger("test").error("failed", exc_info=caught.value)
        told = _everything_in(caught.value)
        assert "w0rd" not in told
        assert SECRET not in told
    assert "w0rd" not in everything.text
    assert oss.server.requests == []


def test_netrc_and_the_environments_proxies_are_not_used(
    oss: OSSWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Credentials of a netrc file would replace the signature; a proxy would see everything."""
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    nobody = f"http://127.0.0.1:{free_port()}"
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, nobody)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    oss.put("k", b"data")
    assert read_all(oss.store(), "k") == b"data"


def test_a_proxy_that_was_named_is_used(oss: OSSWorld) -> None:
    """It is asked, and its password is in no error."""
    nobody = f"http://someone:pass-word@127.0.0.1:{free_port()}"
    store = oss.store(OSSSettings(proxies={"http": nobody}))
    with pytest.raises(TransientStoreError) as caught:
        store.check_access()
    assert "pass-word" not in "".join(traceback.format_exception(caught.value))
    assert oss.server.requests == []
    through = oss.store(OSSSettings(proxies={"http": oss.endpoint.endpoint_url}))
    through.check_access()
    assert len(oss.server.requests) == 1


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_c41_a_proxy_that_wants_other_credentials_is_not_asked_again(scheme: str) -> None:
    """It refuses a request, and a tunnel; both are for good, and its password is not told."""
    with socket.create_server(("127.0.0.1", 0)) as proxy, ThreadPoolExecutor(1) as thread:
        proxy.settimeout(10)
        thread.submit(_refuse_one, proxy)
        address = f"http://someone:pass-word@127.0.0.1:{proxy.getsockname()[1]}"
        settings = OSSSettings(proxies={scheme: address}, read_timeout_s=10)
        auth = oss2.make_auth("key", SECRET, "v4")
        bucket = make_bucket(auth, f"{scheme}://oss.example.com", "bucket", "cn-hangzhou", settings)
        with pytest.raises(AccessDeniedError, match="407") as caught:
            OSSStore(bucket, service="oss", settings=settings).check_access()
    assert not caught.value.retryable
    assert "pass-word" not in "".join(traceback.format_exception(caught.value))


def _refuse_one(proxy: socket.socket) -> None:
    connection, _ = proxy.accept()
    with connection:
        connection.recv(10_000)
        connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n")
        connection.sendall(b"Content-Length: 0\r\nConnection: close\r\n\r\n")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(oss: OSSWorld, status: int) -> None:
    """Nobody else is asked; the error names the host and is no matter for another try."""
    oss.put("k", b"data")
    with OSSServer() as other:
        other.state.create_bucket(oss.bucket)
        other.state.put(oss.bucket, "k", b"theirs")
        for operation in ("ListObjectsV2", "HeadObject", "GetObject", "GetObjectTagging"):
            elsewhere = other.endpoint.endpoint_url
            oss.fault(
                Fault(kind="redirect", operation=operation, status=status, location=elsewhere)
            )
        store = oss.store()
        for call in (
            store.check_access,
            lambda: store.head("k"),
            lambda: read_all(store, "k"),
            lambda: store.get_tags("k"),
        ):
            with pytest.raises(StoreError, match=r"redirected to 127\.0\.0\.1") as caught:
                call()
            assert not caught.value.retryable
        assert other.requests == []


def test_an_odd_redirect_is_told_as_one(oss: OSSWorld) -> None:
    """An address that is none is not looked at either."""
    oss.fault(Fault(kind="redirect", location="http://[bad"))
    with pytest.raises(StoreError, match="redirected") as caught:
        oss.store().check_access()
    assert not caught.value.retryable


def test_certificates_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown authority is an error that no other try helps; the environment names none."""
    certificate = make_certificate(tmp_path)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, str(certificate.ca_file))
    with OSSServer(certificate=certificate) as server:
        oss = OSSWorld(server)
        oss.put("k", b"data" * 100_000)
        with pytest.raises(StoreError, match="CERTIFICATE_VERIFY_FAILED") as caught:
            oss.store().check_access()
        assert not caught.value.retryable
        trusting = oss.store(OSSSettings(verify=str(certificate.ca_file)))
        assert read_all(trusting, "k") == b"data" * 100_000


def test_nobody_there_may_be_asked_again(oss: OSSWorld) -> None:
    """A refused connection and an answer that never comes may pass."""
    nobody = dataclasses.replace(oss.endpoint, endpoint_url=f"http://127.0.0.1:{free_port()}")
    with pytest.raises(TransientStoreError):
        oss.store(endpoint=nobody).head("k")
    oss.fault(Fault(kind="stall", after_bytes=None))
    with pytest.raises(TransientStoreError):
        oss.store(OSSSettings(read_timeout_s=0.2)).head("k")


def test_an_abort_ends_a_read_that_waits_behind_tls(tmp_path: Path) -> None:
    """What blocks there is the library of TLS, and it is unblocked just so."""
    certificate = make_certificate(tmp_path)
    with OSSServer(certificate=certificate) as server:
        oss = OSSWorld(server)
        oss.put("k", b"data" * 100_000)
        store = oss.store(OSSSettings(verify=str(certificate.ca_file)))
        identity = store.head("k").identity()
        oss.fault(Fault(kind="stall", operation="GetObject", after_bytes=10))
        reader = store.open_range("k", None, identity)
        with ThreadPoolExecutor(1) as thread:
            waiting = thread.submit(reader.readinto, memoryview(bytearray(1000)))
            wait_until(lambda: server.faults.stalled == 1, deadline_s=10, what="a stall")
            reader.abort()
            with pytest.raises(TransientStoreError):
                waiting.result(10)
        reader.close()
        server.faults.release()
        assert read_all(store, "k", None, identity) == b"data" * 100_000
