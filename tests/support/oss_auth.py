"""Who may send a request: keys, tokens, dates, regions, and signatures, checked in that order."""

from __future__ import annotations

import calendar
import dataclasses
import hmac
import time
from collections.abc import Callable

from tests.support.oss_messages import (
    ANONYMOUS,
    Caller,
    OSSError,
    Request,
    access_denied,
    from_http_date,
    http_date,
    invalid_argument,
    iso_date,
)
from tests.support.oss_objects import OWNER
from tests.support.oss_signatures import (
    ALGORITHM_V4,
    SCOPE_END,
    Computed,
    sign_v1,
    sign_v2,
    sign_v4,
)

_SKEW_S = 15 * 60
_LONGEST_URL_S = 7 * 86_400
_SCOPE_FIELDS = 5


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Credentials:
    """A key pair of an account; temporary ones have a token, and end at ``expires_at``."""

    access_key_id: str
    access_key_secret: str
    security_token: str | None = None
    expires_at: float | None = None
    account: str = OWNER


class Authenticator:
    """Knows the credentials and the region, and checks each request against them."""

    def __init__(self, region: str, clock: Callable[[], float]) -> None:
        self.region = region
        self._clock = clock
        self._known: dict[str, Credentials] = {}

    def add(self, credentials: Credentials) -> None:
        """Accept these from now on; another secret or token for a known key replaces the old."""
        self._known[credentials.access_key_id] = credentials

    def caller(self, request: Request) -> Caller:
        """Return who signed the request; an OSSError if the signature is no good."""
        header = request.headers.get("authorization", "")
        if header:
            return self._caller_of_header(request, header)
        if request.query.get("x-oss-signature-version") == ALGORITHM_V4:
            return self._url_v4(request)
        if request.query.get("x-oss-signature-version") == "OSS2":
            return self._url_v2(request)
        if "OSSAccessKeyId" in request.query or "Signature" in request.query:
            return self._url_v1(request)
        return ANONYMOUS

    def _caller_of_header(self, request: Request, header: str) -> Caller:
        scheme, _, rest = header.partition(" ")
        checks = {"OSS": self._header_v1, "OSS2": self._header_v2, ALGORITHM_V4: self._header_v4}
        if scheme not in checks:
            raise invalid_argument("Unsupported authorization type.", "Authorization", scheme)
        return checks[scheme](request, rest)

    def _header_v1(self, request: Request, rest: str) -> Caller:
        access_key_id, _, given = rest.partition(":")
        known = self._credentials(access_key_id, request.headers.get("x-oss-security-token"))
        date = self._checked_date(request)
        computed = sign_v1(request, known.access_key_secret, date)
        return _matching(known, computed, given)

    def _header_v2(self, request: Request, rest: str) -> Caller:
        fields = _fields(rest, separator=":")
        known = self._credentials(
            fields.get("AccessKeyId", ""), request.headers.get("x-oss-security-token")
        )
        self._checked_date(request)
        names = _names(fields.get("AdditionalHeaders", ""))
        date = request.headers.get("date", "")
        computed = sign_v2(request, known.access_key_secret, date, names)
        return _matching(known, computed, fields.get("Signature", ""))

    def _header_v4(self, request: Request, rest: str) -> Caller:
        fields = _fields(rest, separator="=")
        access_key_id, day, region, end = _scope(fields.get("Credential", ""))
        if not end:
            raise invalid_argument("Invalid credential in Authorization header.")
        known = self._credentials(access_key_id, request.headers.get("x-oss-security-token"))
        if region != self.region:
            words = "Invalid signing region in Authorization header."
            raise invalid_argument(words, "region", region, ec="0002-00000226")
        date = request.headers.get("x-oss-date", "")
        at = _from_iso(date)
        if at is None or date[:8] != day:
            raise invalid_argument("Invalid signing date in Authorization header.")
        self._require_near(at)
        if request.headers.get("x-oss-content-sha256") != "UNSIGNED-PAYLOAD":
            words = "Only UNSIGNED-PAYLOAD is supported."
            raise invalid_argument(words, "x-oss-content-sha256")
        names = _names(fields.get("AdditionalHeaders", ""))
        computed = sign_v4(
            request, known.access_key_secret, date=date, region=region, additional=names
        )
        return _matching(known, computed, fields.get("Signature", ""))

    def _url_v1(self, request: Request) -> Caller:
        query = request.query
        known = self._credentials(query.get("OSSAccessKeyId", ""), query.get("security-token"))
        expires = query.get("Expires", "")
        self._require_unexpired(float(expires) if expires.isdigit() else 0.0)
        if other := request.headers.get("x-oss-date"):
            self._require_near(from_http_date(other))
        computed = sign_v1(request, known.access_key_secret, expires)
        return _matching(known, computed, query.get("Signature", ""))

    def _url_v2(self, request: Request) -> Caller:
        query = request.query
        known = self._credentials(query.get("x-oss-access-key-id", ""), query.get("security-token"))
        expires = query.get("x-oss-expires", "")
        self._require_unexpired(float(expires) if expires.isdigit() else 0.0)
        names = _names(query.get("x-oss-additional-headers", ""))
        computed = sign_v2(request, known.access_key_secret, expires, names)
        return _matching(known, computed, query.get("x-oss-signature", ""))

    def _url_v4(self, request: Request) -> Caller:
        query = request.query
        access_key_id, day, region, end = _scope(query.get("x-oss-credential", ""))
        if not end:
            raise invalid_argument("The credential is invalid.", "x-oss-credential")
        known = self._credentials(access_key_id, query.get("x-oss-security-token"))
        if region != self.region:
            raise invalid_argument("The signing region in credential is invalid.", "region", region)
        date = query.get("x-oss-date", "")
        at, expires = _from_iso(date), query.get("x-oss-expires", "")
        if at is None or date[:8] != day:
            raise invalid_argument("The signing date in credential is invalid.", "x-oss-date", date)
        if not expires.isdigit() or not 1 <= int(expires) <= _LONGEST_URL_S:
            raise invalid_argument("The expiry of the URL is invalid.", "x-oss-expires", expires)
        if at > self._clock() + _SKEW_S:
            raise access_denied("Request is not valid yet.")
        self._require_unexpired(at + int(expires))
        names = _names(query.get("x-oss-additional-headers", ""))
        computed = sign_v4(
            request, known.access_key_secret, date=date, region=region, additional=names
        )
        return _matching(known, computed, query.get("x-oss-signature", ""))

    def _credentials(self, access_key_id: str, token: str | None) -> Credentials:
        known = self._known.get(access_key_id)
        if known is None or (known.security_token and not token):
            words = "The OSS Access Key Id you provided does not exist in our records."
            extras = {"OSSAccessKeyId": access_key_id}
            raise OSSError(403, "InvalidAccessKeyId", words, ec="0002-00000902", extras=extras)
        shown = {"SecurityToken": token or ""}
        if token and not hmac.compare_digest(token, known.security_token or ""):
            words = "The security token you provided is invalid."
            raise OSSError(403, "InvalidSecurityToken", words, ec="0002-00000006", extras=shown)
        if known.expires_at is not None and known.expires_at <= self._clock():
            raise token_expired(token or "")
        return known

    def _checked_date(self, request: Request) -> str:
        date = request.headers.get("x-oss-date") or request.headers.get("date", "")
        self._require_near(from_http_date(date))
        return date

    def _require_near(self, at: float | None) -> None:
        if at is None:
            raise access_denied("OSS authentication requires a valid Date.")
        now = self._clock()
        if abs(at - now) > _SKEW_S:
            raise clock_skewed(at, now)

    def _require_unexpired(self, until: float) -> None:
        now = self._clock()
        if until < now:
            extras = {"Expires": iso_date(until), "ServerTime": iso_date(now)}
            raise OSSError(403, "AccessDenied", "Request has expired.", extras=extras)


def token_expired(token: str) -> OSSError:
    """Return the refusal of temporary credentials; like the service, it shows the token."""
    words = "The security token you provided has expired."
    extras = {"SecurityToken": token}
    return OSSError(403, "SecurityTokenExpired", words, ec="0002-00000007", extras=extras)


def clock_skewed(at: float, now: float) -> OSSError:
    """Return the refusal of a request from too far away in time."""
    words = "The difference between the request time and the current time is too large."
    extras = {
        "MaxAllowedSkewMilliseconds": str(_SKEW_S * 1000),
        "RequestTime": http_date(at),
        "ServerTime": http_date(now),
    }
    return OSSError(403, "RequestTimeTooSkewed", words, ec="0002-00000504", extras=extras)


def _matching(known: Credentials, computed: Computed, given: str) -> Caller:
    if hmac.compare_digest(computed.signature.encode(), given.encode()):
        return Caller(access_key_id=known.access_key_id, account=known.account)
    text = computed.string_to_sign
    extras = {
        "OSSAccessKeyId": known.access_key_id,
        "SignatureProvided": given,
        "StringToSign": text.decode(errors="replace"),
        "StringToSignBytes": text.hex(" ").upper(),
    }
    if computed.canonical_request is not None:
        extras["CanonicalRequest"] = computed.canonical_request.decode(errors="replace")
    words = "The request signature we calculated does not match the signature you provided."
    words += " Check your key and signing method."
    raise OSSError(403, "SignatureDoesNotMatch", words, ec="0002-00000040", extras=extras)


def _fields(text: str, *, separator: str) -> dict[str, str]:
    items = (item.strip().partition(separator) for item in text.split(","))
    return {name: value for name, _, value in items}


def _names(text: str) -> list[str]:
    return [name for name in text.lower().split(";") if name]


def _scope(credential: str) -> tuple[str, str, str, bool]:
    """Return the key id, the day, and the region of a scope, and whether it ends as it has to."""
    fields = credential.rsplit("/", _SCOPE_FIELDS - 1)
    if len(fields) != _SCOPE_FIELDS:
        return "", "", "", False
    access_key_id, day, region, product, end = fields
    return access_key_id, day, region, (product, end) == ("oss", SCOPE_END)


def _from_iso(text: str) -> float | None:
    try:
        return calendar.timegm(time.strptime(text, "%Y%m%dT%H%M%SZ"))
    except ValueError:
        return None
