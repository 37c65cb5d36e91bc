"""Makes oss2 buckets whose connections do what the store says, and nothing of their own accord.

oss2 sends its requests through sessions of ``requests``, which take credentials from ``~/.netrc``
(they would replace the signature) and proxies from the environment, follow redirects, and keep
cookies.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import oss2
import requests
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from urllib3 import PoolManager

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.storage._oss_direct import DirectAnswer, DirectSender
from airflow_provider_s3resume.storage._oss_settings import OSSSettings, endpoint_url
from airflow_provider_s3resume.storage._paced_connections import paced

_MOST_OF_AN_ERROR: Final = 64 * 1024
_SIGNED_WITH_REGION: Final = "v4"
_ADDRESSES_KEPT: Final = 64
_WITHOUT_BODY: Final = frozenset({"GET", "HEAD"})


class _WithoutSecrets(logging.Filter):
    """Keeps back what is below a warning: oss2 logs whole requests there, signature and token."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= logging.WARNING


_FILTER: Final = _WithoutSecrets()


def silence_sdk() -> None:
    """See to it that no logger of oss2 gives out what holds signatures or tokens (c42).

    The level spares the work, the filter holds even if a logging configuration sets levels anew.
    """
    names = [n for n in logging.root.manager.loggerDict if n == "oss2" or n.startswith("oss2.")]
    for name in ("oss2", *names):
        logger = logging.getLogger(name)
        logger.setLevel(logging.WARNING)
        logger.addFilter(_FILTER)


silence_sdk()


class _PlainResponse(oss2.http.Response):  # type: ignore[misc]  # oss2 has no types
    """An answer whose body is read as it came, never decoded."""

    def __init__(self, answer: requests.Response | DirectAnswer) -> None:
        # oss2's own puts all headers into a text for its log first, whatever the log's level is.
        self.response = answer
        self.status = answer.status_code
        self.headers = answer.headers
        self.request_id = answer.headers.get("x-oss-request-id", "")

    def read(self, amt: int | None = None) -> Any:  # noqa: ANN401 - bytes, by urllib3 1 and 2
        """Return the whole body, or up to ``amt`` bytes of it.

        oss2 reads 4,096 bytes of an error and understands none that was cut there. A refused
        signature comes with all that was signed, which may well be longer.
        """
        most = None if amt is None else max(amt, _MOST_OF_AN_ERROR)
        return self.response.raw.read(most, decode_content=False)


class _PlainAdapter(HTTPAdapter):
    """Gives answers out with what oss2 looks at, and no cookies; gives up what stalls."""

    def __init__(self, settings: OSSSettings) -> None:
        self._settings = settings
        super().__init__(pool_maxsize=settings.connections, pool_block=False)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as requests has it
        """Make the pools of connections."""
        super().init_poolmanager(*args, **kwargs)
        self._pace(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as requests has it
        """Return the pools of connections through a proxy."""
        manager = super().proxy_manager_for(*args, **kwargs)
        self._pace(manager)
        return manager

    def _pace(self, manager: PoolManager) -> None:
        if not getattr(manager, "is_paced", False):
            settings, plain = self._settings, manager.pool_classes_by_scheme
            pools = paced(plain, settings.patience, settings.read_timeout_s)
            manager.pool_classes_by_scheme = pools
            manager.is_paced = True  # type: ignore[attr-defined]  # our own mark

    def build_response(self, req: requests.PreparedRequest, resp: Any) -> requests.Response:  # noqa: ANN401 - urllib3 1 and 2 differ
        """Return urllib3's answer as one of requests."""
        answer = requests.Response()
        answer.status_code = resp.status
        answer.headers = CaseInsensitiveDict(resp.headers)
        answer.raw = resp
        answer.reason = resp.reason
        answer.request = req
        return answer


@lru_cache(maxsize=_ADDRESSES_KEPT)
def _address(url: str, parameters: tuple[tuple[str, str], ...]) -> str | None:
    """Return an address as requests sends it; all ranges of one object have the same.

    :raises requests.RequestException: if it is none.
    """
    request = requests.PreparedRequest()
    request.prepare_url(url, dict(parameters))
    return request.url


def _prepared(req: Any) -> requests.PreparedRequest:  # noqa: ANN401 - oss2 has no types
    """Return a request of oss2 as one of requests.

    It has neither cookies nor another authorization than the signature.
    """
    request = requests.PreparedRequest()
    request.prepare_method(req.method)
    request.url = _address(req.url, tuple(req.params.items()))
    # oss2 says so of headers that requests would add.
    request.prepare_headers({name: text for name, text in req.headers.items() if text is not None})
    if req.data or req.method not in _WITHOUT_BODY:
        request.prepare_body(req.data or None, None)
    return request


class PlainSession(oss2.Session):  # type: ignore[misc]  # oss2 has no types
    """What oss2 sends its requests through: connections of our own, or the adapter of requests.

    There is no session around it: nothing is taken from the environment, no redirect is followed
    and no cookie kept.
    """

    def __init__(self, settings: OSSSettings) -> None:
        adapter = _PlainAdapter(settings)
        super().__init__(adapter=adapter)
        # Nothing is sent through oss2's own; should anything ever be, then not as it would be.
        self.session.trust_env = False
        self._adapter = adapter
        self._direct = DirectSender(settings)
        self._verify = settings.verify
        self._proxies = dict(settings.proxies or {})

    def do_request(self, req: Any, timeout: Any) -> _PlainResponse:  # noqa: ANN401 - oss2 has no types
        """Send a request and return the answer with its body unread.

        :raises oss2.exceptions.RequestError: as oss2's own session does.
        """
        try:
            request = _prepared(req)
            if self._direct.serves(request):
                return _PlainResponse(self._direct.send(request))
            answer = self._adapter.send(
                request,
                stream=True,
                timeout=timeout,
                verify=self._verify,
                proxies=self._proxies,
            )
        # Of headers that cannot be encoded, requests lets http.client say so.
        except (requests.RequestException, OSError, ValueError) as error:
            raise oss2.exceptions.RequestError(error) from error
        return _PlainResponse(answer)


def make_bucket(
    auth: Any,  # noqa: ANN401 - oss2 has no types
    endpoint: str,
    bucket_name: str,
    region: str | None,
    settings: OSSSettings,
) -> oss2.Bucket:
    """Return a bucket of oss2 with connections of its own; make it after a fork, not before.

    :param auth: one of oss2's, which may ask a provider for credentials at each request.
    :param endpoint: host, with or without scheme and port; HTTPS if nothing else is said.
    :param region: such as ``cn-hangzhou``; signatures of version 4 need it.
    :raises InvalidInputError: naming what cannot be used.
    """
    url = endpoint_url(endpoint)
    if not region and auth.auth_version() == _SIGNED_WITH_REGION:
        accepted = "the bucket's region, such as 'cn-hangzhou', for signatures of version 4"
        raise InvalidInputError("region", found=region, accepted=accepted)
    if isinstance(settings.verify, str) and not Path(settings.verify).exists():
        accepted = "the path of a file of certificates that exists"
        raise InvalidInputError("extra.verify", found=settings.verify, accepted=accepted)
    try:
        return oss2.Bucket(
            auth,
            url,
            bucket_name,
            is_cname=settings.is_cname,
            session=PlainSession(settings),
            # oss2 hands it to requests as it is, which takes both timeouts.
            connect_timeout=(settings.connect_timeout_s, settings.read_timeout_s),
            # Its CRC costs more than all else together; the engine computes its own.
            enable_crc=False,
            region=region,
            is_path_style=settings.is_path_style,
        )
    except oss2.exceptions.ClientError:
        accepted = "an endpoint's host, and 3 to 63 lower-case letters, digits and hyphens"
        raise InvalidInputError(
            "endpoint and bucket", found=f"{url} {bucket_name}", accepted=accepted
        ) from None
