"""What reading from OSS through the provider costs, beside a bare urllib3 read of a signed URL.

``make bench-oss`` (or ``.venv/bin/python -m benchmarks.oss_read``). The OSS of the tests runs as a
process of its own and makes up a synthetic object; each program of ``oss_readers`` reads all of it
range by range, in one thread, over a connection that is kept.

Each program lives in a process of its own for the whole run, imports only what it needs, and has
read before it is measured: neither pays for the imports, the heap, or the garbage of the other, and
none pays for its start. A round is the whole object for each; they take turns at every quarter GiB,
the order reversed each time, so that what else the machine does meets all of them. What counts is
the CPU time of the client process alone, user and system; the time on the clock is mostly the
server's. A figure is the median of the rounds; a ratio is the median of the rounds' own ratios.

The bare reader uses one URL, signed before the run: the provider signs every request, so the ratio
counts that against it. ``bare-signing`` signs each range and is printed for information. ``copy``,
the engine's own loop with both CRCs that a copy from OSS to S3 takes, is information too.

Before the rounds every program reads ranges whose CRC is compared with that of the bytes that the
server was told to make up. Exit code 1 if a bound of the 16-MiB ranges, the size of a part where
nothing else is said, is not kept.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

import oss2

from benchmarks.oss_readers import MIB, READERS, Place
from tests.support.oss_content import Synthetic, crc_of
from tests.support.oss_process import OSSProcess
from tests.support.tls import make_certificate

ROOT = Path(__file__).resolve().parents[1]
BUCKET, KEY, SEED = "bench-oss", "folder/object", 7
BOUND = 1.30
GIB = 1 << 30
TURN = 256 * MIB
PARTS = (16, 8)
BOUND_PART = 16
"""The range, in MiB, whose ratio decides about the exit code."""
BASE = "bare"
WARM_UP = ((3 * MIB + 1, 37 * MIB), (0, 16 * MIB), (40 * MIB, 40 * MIB + 5))


class Program:
    """A reader in a process of its own."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._child = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.oss_readers", name],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, **order: Any) -> Any:  # noqa: ANN401 - whatever the order asks for
        """Return the answer to an order."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(json.dumps(order) + "\n")
        self._child.stdin.flush()
        line = self._child.stdout.readline()
        if not line:
            raise RuntimeError(f"the program {self.name} ended; its message stands above")
        return json.loads(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        assert self._child.stdin is not None
        self._child.stdin.close()
        self._child.wait(timeout=60)


@contextmanager
def places(size: int) -> Iterator[dict[str, Place]]:
    """Serve one object in plain HTTP and one over TLS, by a server each."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        certificates = {"plain": None, "tls": make_certificate(folder / "tls")}
        found = {}
        for wire, certificate in certificates.items():
            log_dir = folder / wire
            log_dir.mkdir(exist_ok=True)
            server = stack.enter_context(OSSProcess(log_dir, certificate=certificate))
            server.control("create_bucket", BUCKET)
            server.control("put_synthetic", BUCKET, KEY, size, SEED, kind="Multipart")
            found[wire] = place_of(server, size)
        yield found


def place_of(server: OSSProcess, size: int) -> Place:
    """Return where the object is, with a URL that is good for the run."""
    endpoint = server.endpoint
    bucket = endpoint.bucket(BUCKET)
    signed = {"x-oss-range-behavior": "standard"}
    return Place(
        endpoint=endpoint.endpoint_url,
        region=endpoint.region,
        access_key_id=endpoint.access_key_id,
        access_key_secret=endpoint.access_key_secret,
        bucket=BUCKET,
        key=KEY,
        size=size,
        etag=etag_of(bucket),
        url=bucket.sign_url("GET", KEY, 6 * 3600, headers=signed),
        ca_file=str(endpoint.ca_file) if endpoint.ca_file else None,
    )


def etag_of(bucket: oss2.Bucket) -> str:
    """Return the object's ETag without quotes."""
    return str(bucket.head_object(KEY).etag)


def warm_up(program: Program, wires: dict[str, Place], size: int) -> None:
    """Let a program read ranges of each server, and compare their CRCs with the right ones.

    :raises RuntimeError: if one differs.
    """
    for wire in wires:
        for start, stop in WARM_UP:
            expected = 0
            for piece in Synthetic(size, SEED).pieces(start, stop):
                expected = crc_of(piece, expected)
            found = program.ask(crc=[wire, start, stop])
            if found != expected:
                raise RuntimeError(f"{program.name} over {wire}: wrong bytes in {start}:{stop}")


def measure(
    programs: list[Program], wire: str, size: int, part: int, rounds: int
) -> dict[str, list[float]]:
    """Return the CPU seconds a GiB of each program, round by round."""
    spent: dict[str, list[float]] = {program.name: [] for program in programs}
    order = list(programs)
    for _ in range(rounds):
        seconds = dict.fromkeys(spent, 0.0)
        for start in range(0, size, TURN):
            stop = min(start + TURN, size)
            for program in order:
                count, cpu = program.ask(read=[wire, start, stop, part])
                if count != stop - start:
                    raise RuntimeError(f"{program.name} read {count} bytes of {start}:{stop}")
                seconds[program.name] += cpu
            order.reverse()
        for name, cpu in seconds.items():
            spent[name].append(cpu * GIB / size)
    return spent


def ratio(spent: dict[str, list[float]], name: str) -> float:
    """Return the median of how many times as much a program spent as the bare one."""
    return statistics.median(a / b for a, b in zip(spent[name], spent[BASE], strict=True))


def report(wire: str, part: int, spent: dict[str, list[float]]) -> bool:
    """Print the figures of one kind of read; return whether the bound is kept."""
    what = f"oss-read-{wire}-{part}MiB"
    for name, found in spent.items():
        low, middle, high = min(found), statistics.median(found), max(found)
        print(f"cpu {what} {name} {middle:.3f} CPU-s/GiB (lowest {low:.3f}, highest {high:.3f})")
    for name in spent:
        if name not in {BASE, "store"}:
            print(f"info {what} {name}/{BASE} {ratio(spent, name):.2f}")
    found_ratio = ratio(spent, "store")
    kept = found_ratio <= BOUND
    print(f"ratio {what} {found_ratio:.2f} {BOUND:.2f} {'ok' if kept else 'short'}", flush=True)
    return kept


def main() -> int:
    """Measure everything and report it."""
    parser = argparse.ArgumentParser(description="CPU of reads from OSS beside bare urllib3.")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--mib", type=int, default=1024, help="size of the object, at least 64")
    given = parser.parse_args()
    size, kept = max(given.mib, 64) * MIB, True
    with ExitStack() as stack:
        wires = stack.enter_context(places(size))
        programs = [stack.enter_context(Program(name)) for name in READERS]
        shown = {wire: dataclasses.asdict(place) for wire, place in wires.items()}
        for program in programs:
            program.ask(open=shown)
            warm_up(program, wires, size)
        for wire in wires:
            for part in PARTS:
                # One round that does not count: the heap and the connection are as they will be.
                measure(programs, wire, size, part * MIB, 1)
                spent = measure(programs, wire, size, part * MIB, given.rounds)
                kept &= report(wire, part, spent) or part != BOUND_PART
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
