"""How botocore makes the requests of a bucket: looked at once, and done alike from then on.

An operation is called in full, up to where it would be sent: that shows which host, path, headers
and signing a bucket has (addressing styles, access points, dual-stack, redirects that were
learned). What is out of the ordinary has no template, and stays botocore's alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit

import botocore
from botocore.awsrequest import AWSRequest

from airflow_provider_s3resume.storage._s3_forms import Forms
from airflow_provider_s3resume.storage._s3_shapes import Shapes
from airflow_provider_s3resume.storage._sigv4 import UNSIGNED, Signer

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

    from airflow_provider_s3resume.storage._connections import Connections

PORTS: Final = {"http": 80, "https": 443}
_SIGNATURES: Final = frozenset({"s3v4"})
_PROBE: Final = "s3resume-the-key-of-no-object"
_METHODS: Final = {
    "GetObject": "get_object",
    "PutObject": "put_object",
    "UploadPart": "upload_part",
}
_NEEDED: Final[Mapping[str, Mapping[str, object]]] = {
    "UploadPart": {"UploadId": "none", "PartNumber": 1},
}
# What a request has of its own, or what botocore says of its own retries.
_OF_ITS_OWN: Final = (
    "amz-sdk-",
    "authorization",
    "content-",
    "expect",
    "host",
    "transfer-encoding",
    "x-amz-",
)
_CAPTURE: ContextVar[list[_Captured] | None] = ContextVar("captured", default=None)
_UNKNOWN: Final = object()


class _CapturedError(Exception):
    """Ends a call that was only made to see what botocore makes of it."""


@dataclass(frozen=True, slots=True)
class _Captured:
    request: AWSRequest
    signer: Any
    signature: object
    region: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """What all requests of an operation have in common.

    :param forms: their heads.
    :param auth: gives the credentials of the moment; ``None`` for requests that are not signed.
    """

    pool: Connections
    forms: Forms
    auth: Callable[[], Any] | None


def _capture(
    request: AWSRequest,
    request_signer: Any,  # noqa: ANN401 - botocore's own
    signature_version: object,
    region_name: str,
    signing_name: str,
    **_: object,
) -> None:
    captured = _CAPTURE.get()
    if captured is not None:
        found = _Captured(request, request_signer, signature_version, region_name, signing_name)
        captured.append(found)
        raise _CapturedError


class Templates:
    """The templates of one bucket's operations.

    :param session: botocore's own, which knows what goes by way of a proxy.
    :param pool_of: returns the connections to a place, for its scheme and netloc.
    """

    def __init__(
        self,
        client: S3Client,
        session: Any,  # noqa: ANN401 - botocore's own
        bucket: str,
        pool_of: Callable[[str, str], Connections],
    ) -> None:
        self.shapes: dict[str, Shapes] = {}
        """Of each operation that was looked at, also of those that have no template any more."""
        self._client = client
        self._session = session
        self._bucket = bucket
        self._pool_of = pool_of
        self._lock = threading.Lock()
        self._found: dict[str, Template | None] = {}
        client.meta.events.register("before-sign.s3", _capture, unique_id="s3resume-capture")

    def of(self, operation: str) -> Template | None:
        """Return an operation's template, ``None`` if botocore alone makes its requests."""
        # Looked up without the lock: what is found there is whole.
        found = self._found.get(operation, _UNKNOWN)
        if found is not _UNKNOWN:
            return cast("Template | None", found)
        made = self._make(operation)
        with self._lock:
            self._found[operation] = made
        return made

    def forget(self) -> None:
        """Have botocore looked at again: the bucket is elsewhere."""
        with self._lock:
            self._found.clear()

    def _make(self, operation: str) -> Template | None:
        """Ask botocore how it makes an operation's requests; ``None`` if they are its own alone."""
        captured = self._captured(operation)
        if captured is None:
            return None
        request = captured.request
        url = str(request.url).partition("?")[0]
        before, found, behind = url.partition(_PROBE)
        parts = urlsplit(before)
        proxied = self._session._proxy_config.proxy_url_for(url)  # noqa: SLF001 - see _s3_direct
        if not found or behind or proxied or parts.scheme not in PORTS:
            return None
        model = self._client.meta.service_model.operation_model(operation)
        shapes = self.shapes[operation] = Shapes(model)
        headers = {n.lower(): v for n, v in request.headers.items() if not _is_its_own(n)}
        headers["host"] = parts.netloc
        signing = _signing(captured)
        if signing is None:
            return None
        return Template(
            pool=self._pool_of(parts.scheme, parts.netloc),
            forms=Forms(shapes.method, parts.path, headers, signing[0]),
            auth=signing[1],
        )

    def _captured(self, operation: str) -> _Captured | None:
        captured: list[_Captured] = []
        token = _CAPTURE.set(captured)
        call = getattr(self._client, _METHODS[operation])
        try:
            call(Bucket=self._bucket, Key=_PROBE, **_NEEDED.get(operation, {}))
        except _CapturedError:
            return captured[0]
        finally:
            _CAPTURE.reset(token)
        return None


def _signing(captured: _Captured) -> tuple[Signer | None, Callable[[], Any] | None] | None:
    """Return what signs as botocore signs, and with what; ``None`` if nothing here does.

    botocore signs a request; ours has to come out the same.
    """
    given = captured.request.context.get("signing", {})
    if captured.signature is botocore.UNSIGNED:
        return None, None
    if captured.signature not in _SIGNATURES or given.get("request_credentials") is not None:
        return None
    region, service = given.get("region", captured.region), given.get("signing_name", captured.name)
    auth = partial(captured.signer.get_auth_instance, service, region, captured.signature)
    url = str(captured.request.url).partition("?")[0]
    request = AWSRequest(method="GET", url=url, headers={"If-Match": '"a  b"', "Range": "0"})
    request.context.update({k: v for k, v in captured.request.context.items() if k != "checksum"})
    used = auth()
    credentials = partial(_credentials, captured.signer, auth)
    if used.credentials is None:
        return Signer(region, service), credentials
    used.add_auth(request)
    theirs = {name.lower(): value for name, value in request.headers.items()}
    ours = Signer(region, service)
    asked = {name: theirs[name] for name in ("host", "if-match", "range")}
    path, at = urlsplit(url).path, theirs["x-amz-date"]
    made = ours.sign("GET", path, "", asked, UNSIGNED, used.credentials, at)
    same = all(theirs.get(name) == value for name, value in made.items())
    return (ours, credentials) if same else None


def _credentials(signer: Any, auth: Callable[[], Any]) -> Any:  # noqa: ANN401 - botocore's own
    """Return the frozen credentials of the moment, where they are known without a whole signer."""
    held = getattr(signer, "_credentials", None)
    return auth().credentials if held is None else held.get_frozen_credentials()


def _is_its_own(name: str) -> bool:
    return name.lower().startswith(_OF_ITS_OWN)
