"""What keeps boto3 clients small and quick.

One copy of the services' descriptions, none of what is sent, and times that are read cheaply.
"""

from __future__ import annotations

import gzip
import io
import json
import os.path
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast, overload

from botocore.exceptions import DataNotFoundError
from botocore.loaders import JSONFileLoader, Loader, create_loader
from botocore.utils import parse_timestamp

if TYPE_CHECKING:
    from boto3.session import Session
    from botocore.awsrequest import AWSRequest
    from mypy_boto3_s3.client import S3Client

_CREATED: Final = "request-created.s3"
_KEPT: Final = "s3resume-body"


def share_descriptions(session: Session) -> None:
    """Let a session's clients use what those of other sessions have read."""
    # A session of boto3 has no name for it; the session of botocore beneath it has.
    beneath = session._session  # noqa: SLF001
    loader = _loader_of(beneath.get_config_variable("data_path"))
    beneath.register_component("data_loader", loader)


@cache
def _loader_of(search_path: str | None) -> Loader:
    """Return the loader of all clients: what it reads for S3 and its endpoints takes 10 MiB.

    :param search_path: where users keep descriptions of their own: ``AWS_DATA_PATH``, or
        ``data_path`` of a profile. There is hardly ever more than one.
    """
    made: Loader = create_loader(search_path)
    return _SharedLoader(
        extra_search_paths=made.search_paths,
        file_loader=_Files(),
        include_default_search_paths=False,
    )


class _Files(JSONFileLoader):
    """Reads descriptions into ordinary dictionaries, which keep their order, too.

    botocore makes ``OrderedDict`` of all of them: half of the time that reading takes.
    """

    def load_file(self, file_path: str) -> Any:  # noqa: ANN401 - what JSON can be
        """Return what a file says, ``None`` if there is none.

        :param file_path: without its suffix.
        """
        for suffix, unpack in ((".json", bytes), (".json.gz", gzip.decompress)):
            path = file_path + suffix
            # Of a folder that may not be looked into, ``Path.is_file`` raises.
            if os.path.isfile(path):  # noqa: PTH113
                return json.loads(unpack(Path(path).read_bytes()))
        return None


class _SharedLoader(Loader):
    """Looks for a service by its name.

    botocore first looks into the folders of all services, 400 of them, twice for each process.
    """

    def list_available_services(self, type_name: str) -> list[str]:
        """Return the names of all services, which are looked for when they are asked for."""
        lists = super().list_available_services
        found = _Services(lambda name: self._has(name, type_name), lambda: lists(type_name))
        # All that is done with it is what any sequence can do.
        return cast("list[str]", found)

    def _has(self, service: str, type_name: str) -> bool:
        try:
            return bool(self.list_api_versions(service, type_name))
        except DataNotFoundError:
            return False


class _Services(Sequence[str]):
    """Names of services, in order.

    :param has: tells whether there is one.
    :param find: returns all.
    """

    def __init__(self, has: Callable[[str], bool], find: Callable[[], list[str]]) -> None:
        self._has = has
        self._find = find

    @cached_property
    def _all(self) -> list[str]:
        return self._find()

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._has(name)

    def __len__(self) -> int:
        return len(self._all)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[str]: ...
    def __getitem__(self, at: int | slice) -> str | Sequence[str]:
        return self._all[at]


def read_times_quickly(session: Session) -> None:
    """Let a session's clients read the times of listings without a guess at their form.

    botocore has dateutil guess each, which takes two thirds of the time that a listing of objects
    or parts takes to be read: 45 µs an entry.
    """
    factory = session._session.get_component("response_parser_factory")  # noqa: SLF001 - as above
    factory.set_parser_defaults(timestamp_parser=_time_of)


def _time_of(value: Any) -> datetime:  # noqa: ANN401 - a text, or a number
    """Return a time as S3 writes it in listings; any other form is left to botocore."""
    if isinstance(value, str) and value[10:11] == "T" and value.endswith("Z"):
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            pass
    found: datetime = parse_timestamp(value)
    return found


def sign_without_copies(client: S3Client) -> None:
    """Let a buffer that is sent be read where it lies while the request is signed.

    Where awscrt is installed, botocore signs with it, and makes a copy of a body that is no file:
    as much again as the memory budget, if all of it is being signed. As a file it is not copied.
    It is sent as a buffer all the same: files are announced, and sent in small blocks.
    """
    events = client.meta.events
    events.register_first(_CREATED, _lend, unique_id="s3resume-lend")
    events.register_last(_CREATED, _take_back, unique_id="s3resume-take-back")


def _lend(request: AWSRequest, **_: Any) -> None:  # noqa: ANN401 - whatever the event tells
    if isinstance(request.data, bytearray):
        request.context[_KEPT] = request.data
        request.data = _Lent(request.data)


def _take_back(request: AWSRequest, **_: Any) -> None:  # noqa: ANN401 - whatever the event tells
    if isinstance(request.data, _Lent):
        request.data.close()
        request.data = request.context.pop(_KEPT)


class _Lent(io.RawIOBase):
    """A buffer as a file, to be read from its start.

    It looks at the buffer only while it is read. If signing fails, nobody takes the buffer back,
    and the request may wait for the garbage collector: a view of it would keep its memory so long.
    """

    def __init__(self, data: bytearray) -> None:
        self._data = data
        self._at = 0

    def readable(self) -> bool:
        """Return that it is."""
        return True

    def seekable(self) -> bool:
        """Return that it is."""
        return True

    def readinto(self, buffer: Any, /) -> int:  # noqa: ANN401 - whatever has a buffer
        """Fill the start of ``buffer``; 0 at the end."""
        into = memoryview(buffer).cast("B")
        with memoryview(self._data) as data, data[self._at : self._at + len(into)] as piece:
            into[: len(piece)] = piece
            self._at += len(piece)
            return len(piece)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go on reading elsewhere."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._data)}[whence]
        self._at = min(max(0, start + offset), len(self._data))
        return self._at

    def close(self) -> None:
        """Let the buffer go."""
        self._data = bytearray()
        super().close()
