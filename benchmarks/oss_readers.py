"""The programs that ``benchmarks.oss_read`` compares, each to be run as a process of its own.

``python -m benchmarks.oss_readers NAME`` takes orders as lines of JSON and answers each with one:
how many bytes it read, and the CPU time (user and system) that this process spent on them.

* ``store``: ``OSSStore.open_range`` and ``readinto``, with a bucket from ``make_bucket``.
* ``copy``: the same below ``ExactSource.read``, with the digests that a copy takes.
* ``bare``: urllib3 and one signed URL for all ranges; it imports nothing of the provider.
* ``bare-signing``: the same with a URL signed for each range.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

MIB = 1 << 20
Take = Callable[[Any], None]
"""Is given each piece of a body; what it is given may be overwritten when it returns."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """One object of one server.

    :param url: signed for GET with the header ``x-oss-range-behavior: standard``.
    :param ca_file: of a server that speaks TLS.
    """

    endpoint: str
    region: str
    access_key_id: str
    access_key_secret: str
    bucket: str
    key: str
    size: int
    etag: str
    url: str
    ca_file: str | None


class Reader(Protocol):
    """Reads ranges of one object over one connection that is kept."""

    def read(self, start: int, stop: int, take: Take | None) -> int:
        """Read a range and return the number of its bytes."""


class Bare:
    """urllib3, with no more checks than a careful caller would write down in a line."""

    # The cheapest of the steps and calls of urllib3 that were tried. Larger pieces cost a new
    # process page faults.
    STEP = MIB // 4

    def __init__(self, place: Place) -> None:
        import urllib3  # noqa: PLC0415 - each program imports what it needs, and no more

        # The settings that keep urllib3 from doing anything of its own accord.
        self._pool = urllib3.PoolManager(
            maxsize=1, ca_certs=place.ca_file, retries=False, timeout=60.0
        )
        self._etag = f'"{place.etag}"'
        self.url = place.url

    def read(self, start: int, stop: int, take: Take | None) -> int:
        """Read a range as a stream of large pieces."""
        headers = {
            "Range": f"bytes={start}-{stop - 1}",
            "If-Match": self._etag,
            "x-oss-range-behavior": "standard",
        }
        answer = self._pool.request(
            "GET", self.url, headers=headers, preload_content=False, decode_content=False
        )
        if answer.status != 206:
            raise RuntimeError(f"HTTP {answer.status}: {answer.read(2000)!r}")
        count = 0
        for piece in answer.stream(self.STEP, decode_content=False):
            count += len(piece)
            if take is not None:
                take(piece)
        answer.release_conn()
        return count


class BareSigning(Bare):
    """The same with a URL of its own for each range, as URLs that soon expire would ask for."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        import oss2  # noqa: PLC0415 - see above

        auth = oss2.AuthV4(place.access_key_id, place.access_key_secret)
        self._bucket = oss2.Bucket(auth, place.endpoint, place.bucket, region=place.region)
        self._key = place.key

    def read(self, start: int, stop: int, take: Take | None) -> int:
        """Sign, and read."""
        headers = {"x-oss-range-behavior": "standard"}
        self.url = self._bucket.sign_url("GET", self._key, 600, headers=headers)
        return super().read(start, stop, take)


class Store:
    """``OSSStore`` as the hook makes it, read in steps as the engine does."""

    def __init__(self, place: Place) -> None:
        import oss2  # noqa: PLC0415 - see above

        from airflow_provider_s3resume.plan.objects import (  # noqa: PLC0415 - see above
            ByteRange,
            SourceIdentity,
        )
        from airflow_provider_s3resume.storage.oss import (  # noqa: PLC0415 - see above
            OSSSettings,
            OSSStore,
            make_bucket,
            service_of,
        )
        from airflow_provider_s3resume.transfer.reading import (  # noqa: PLC0415 - see above
            READ_STEP,
            STREAM_BUFFER,
        )

        settings = OSSSettings(verify=place.ca_file or True)
        auth = oss2.ProviderAuthV4(
            oss2.StaticCredentialsProvider(place.access_key_id, place.access_key_secret)
        )
        bucket = make_bucket(auth, place.endpoint, place.bucket, place.region, settings)
        service = service_of(place.endpoint, place.region)
        self.store = OSSStore(bucket, service=service, settings=settings)
        self.key = place.key
        self.identity = SourceIdentity(etag=place.etag, size=place.size)
        self.range = ByteRange
        self.buffer = memoryview(bytearray(STREAM_BUFFER))
        self._step = READ_STEP

    def read(self, start: int, stop: int, take: Take | None) -> int:
        """Read a range into a buffer that is used over and over."""
        buffer, step, count = self.buffer, self._step, 0
        wanted = self.range(start=start, stop=stop)
        with self.store.open_range(self.key, wanted, self.identity) as reader:
            while True:
                at = count % len(buffer)
                got = reader.readinto(buffer[at : at + step])
                if not got:
                    return count
                count += got
                if take is not None:
                    take(buffer[at : at + got])


class Copy(Store):
    """The same through the engine: broken bodies would go on, and both digests are taken."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        from airflow_provider_s3resume.plan.digests import (  # noqa: PLC0415 - see above
            ChecksumAlgorithm,
        )
        from airflow_provider_s3resume.transfer.hashing import Hasher  # noqa: PLC0415 - see above
        from airflow_provider_s3resume.transfer.reading import (  # noqa: PLC0415 - see above
            ExactSource,
        )
        from airflow_provider_s3resume.transfer.stopping import (  # noqa: PLC0415 - see above
            StopSignal,
        )

        self._source = ExactSource(self.store, self.key, self.identity, StopSignal())
        self._hasher = Hasher
        self._algorithms = (ChecksumAlgorithm.CRC64XZ, ChecksumAlgorithm.CRC64NVME)

    def read(self, start: int, stop: int, take: Take | None) -> int:
        """Read a range and take its digests."""
        hashers, count = [self._hasher(one) for one in self._algorithms], 0
        for piece in self._source.chunks(self.range(start=start, stop=stop), self.buffer):
            for hasher in hashers:
                hasher.update(piece)
            count += len(piece)
            if take is not None:
                take(piece)
        for hasher in hashers:
            hasher.checksum()
        return count


READERS: dict[str, Callable[[Place], Reader]] = {
    "store": Store,
    "copy": Copy,
    "bare": Bare,
    "bare-signing": BareSigning,
}


def cpu_seconds() -> float:
    """Return what this process has spent so far, in user and in system mode."""
    spent = resource.getrusage(resource.RUSAGE_SELF)
    return spent.ru_utime + spent.ru_stime


def crc_of_range(reader: Reader, start: int, stop: int) -> int:
    """Return the CRC-64/XZ of a range as the reader read it."""
    from fastcrc import crc64  # noqa: PLC0415 - see above

    crc = 0

    def take(piece: Any) -> None:  # noqa: ANN401 - bytes of one, memoryview of another
        nonlocal crc
        crc = crc64.xz(piece, crc)

    reader.read(start, stop, take)
    return crc


def timed(reader: Reader, start: int, stop: int, part: int) -> tuple[int, float]:
    """Read from ``start`` to ``stop`` range by range; return the bytes, and the CPU time spent."""
    count, before = 0, cpu_seconds()
    for at in range(start, stop, part):
        count += reader.read(at, min(at + part, stop), None)
    return count, cpu_seconds() - before


def main() -> None:
    """Follow orders until there are no more.

    ``{"open": {"plain": {...}}}`` names places, ``{"crc": [place, start, stop]}`` asks for a CRC,
    ``{"read": [place, start, stop, part]}`` for a measurement.
    """
    make = READERS[sys.argv[1]]
    readers: dict[str, Reader] = {}
    for line in sys.stdin:
        order = json.loads(line)
        found: Any = None
        if "open" in order:
            readers = {name: make(Place(**place)) for name, place in order["open"].items()}
        elif "crc" in order:
            name, start, stop = order["crc"]
            found = crc_of_range(readers[name], start, stop)
        else:
            name, start, stop, part = order["read"]
            found = timed(readers[name], start, stop, part)
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
