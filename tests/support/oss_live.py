"""Live channels, as far as an SDK that lists and empties buckets meets them."""

from __future__ import annotations

from tests.support.oss_messages import Answer, OSSError, Request, iso_date, xml_answer
from tests.support.oss_objects import OSSState
from tests.support.oss_paging import number
from tests.support.oss_xml import Fragment, document, element, elements, join, parsed, text_of

_TARGET = ("Type", "FragDuration", "FragCount", "PlaylistName")


def put_channel(state: OSSState, request: Request) -> Answer:
    """Keep the description of a channel."""
    bucket = state.bucket(request.bucket)
    parsed(request.body, "LiveChannelConfiguration")
    bucket.channels[request.key] = request.body
    return xml_answer(document("CreateLiveChannelResult", _urls(request.bucket, request.key)))


def get_channel(state: OSSState, request: Request) -> Answer:
    """Tell the description of a channel."""
    kept = state.bucket(request.bucket).channels.get(request.key)
    if kept is None:
        raise OSSError(404, "NoSuchLiveChannel", "The live channel you asked for does not exist.")
    root = parsed(kept, "LiveChannelConfiguration")
    shown = {name: root.findtext(name, "") for name in ("Description", "Status")}
    target = {name: text_of(root, f"Target/{name}") for name in _TARGET}
    content = elements(shown) + element("Target", elements(target))
    return xml_answer(document("LiveChannelConfiguration", content))


def delete_channel(state: OSSState, request: Request) -> Answer:
    """Forget a channel."""
    state.bucket(request.bucket).channels.pop(request.key, None)
    return Answer(status=204)


def list_channels(state: OSSState, request: Request) -> Answer:
    """List the channels behind a name."""
    bucket = state.bucket(request.bucket)
    prefix, marker = request.query.get("prefix", ""), request.query.get("marker", "")
    most = number(request, "max-keys", 100, 1000)
    names = [n for n in sorted(bucket.channels) if n.startswith(prefix) and n > marker]
    head: dict[str, str | int | bool | Fragment] = {
        "Prefix": prefix,
        "Marker": marker,
        "MaxKeys": most,
        "IsTruncated": len(names) > most,
    }
    if len(names) > most:
        head["NextMarker"] = names[most - 1]
    at = iso_date(bucket.created)
    lines = join(_line(bucket.name, name, at, bucket.channels[name]) for name in names[:most])
    return xml_answer(document("ListLiveChannelResult", elements(head) + lines))


def _line(bucket: str, name: str, at: str, kept: bytes) -> Fragment:
    root = parsed(kept, "LiveChannelConfiguration")
    shown = {"Name": name, "LastModified": at}
    shown |= {field: root.findtext(field, "") for field in ("Description", "Status")}
    return element("LiveChannel", elements(shown) + _urls(bucket, name))


def _urls(bucket: str, name: str) -> Fragment:
    publish = element("Url", f"rtmp://{bucket}.invalid/live/{name}")
    play = element("Url", f"http://{bucket}.invalid/{name}/playlist.m3u8")
    return element("PublishUrls", publish) + element("PlayUrls", play)
