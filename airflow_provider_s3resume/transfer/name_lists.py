"""Lists that a person keeps in a file: keys, prefixes, patterns to ignore; read as streams.

Nothing in a list is decoded but UTF-8: a key is what stands there (c04).
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from airflow_provider_s3resume.exceptions import (
    InvalidInputError,
    ObjectNotFoundError,
    TransientStoreError,
)
from airflow_provider_s3resume.plan.objects import (
    MAX_KEY_BYTES,
    ByteRange,
    SourceIdentity,
    key_bytes,
)

if TYPE_CHECKING:
    from airflow_provider_s3resume.storage.base import ObjectStore

MOST_IGNORED: Final = 10_000
"""Lines of an ignore list: each is tried on each key, and all stand in the manifest."""
_LONGEST_LINE: Final = 64 * 1024
_BLOCK: Final = 4 * 1024 * 1024
_TRIES: Final = 5
_BOM: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListFile:
    """A file of names, in a bucket or on the worker.

    :param parameter: that named it, for messages.
    :param uri: the file as it was named.
    :param name: its key, or its path.
    :param store: ``None`` for a file of the worker.
    """

    parameter: str
    uri: str
    name: str
    store: ObjectStore | None = None

    def lines(self) -> Iterator[tuple[int, str]]:
        """Yield the lines that are not blank with their numbers, without their ends.

        :raises InvalidInputError: if the file is not there, or a line is no text.
        """
        for number, line in self._raw_lines():
            text = line.removesuffix("\n").removesuffix("\r")
            if text.strip():
                yield number, text

    def keys(self) -> Iterator[tuple[int, str]]:
        """Yield the keys of a list of keys, in the form that the ending of its name says.

        :raises InvalidInputError: if there is no such form, or the file is not in it.
        """
        read = self._form()
        for number, key in read():
            if not key or len(key_bytes(key)) > MAX_KEY_BYTES:
                raise self.refused(number, key[:100], f"a key of 1 to {MAX_KEY_BYTES} UTF-8 bytes")
            yield number, key

    def check(self, *, keys: bool = False) -> None:
        """Make sure that the file is there and begins as it should.

        :raises InvalidInputError: if it does not, or holds nothing.
        """
        if next(self.keys() if keys else self.lines(), None) is None:
            raise InvalidInputError(
                self.parameter, found=f"{self.uri}, which holds nothing", accepted="a list"
            )

    def refused(self, number: int, found: str, accepted: str) -> InvalidInputError:
        """Return the error for a line."""
        return InvalidInputError(
            f"{self.parameter}, line {number} of {self.uri}", found=found, accepted=accepted
        )

    def _form(self) -> Callable[[], Iterator[tuple[int, str]]]:
        forms = {
            ".csv": self._csv,
            ".jsonl": self._json_lines,
            ".ndjson": self._json_lines,
            ".txt": self.lines,
        }
        for ending, read in forms.items():
            if self.name.lower().endswith(ending):
                return read
        accepted = f"a file whose name ends in {', '.join(forms)}"
        raise InvalidInputError(self.parameter, found=self.uri, accepted=accepted)

    def _csv(self) -> Iterator[tuple[int, str]]:
        """Yield the column ``key``, which the first row has to name."""
        rows = csv.reader((line for _, line in self._raw_lines()), strict=True)
        try:
            names = [name.strip().lower() for name in next(rows, [])]
            if "key" not in names:
                raise self.refused(1, ", ".join(names)[:100], "a row of names with the name 'key'")
            column = names.index("key")
            for row in rows:
                if len(row) > column:
                    yield rows.line_num, row[column]
                elif row:
                    accepted = f"a row of {len(names)} fields"
                    raise self.refused(rows.line_num, ",".join(row)[:100], accepted)
        except csv.Error as error:
            raise self.refused(rows.line_num, str(error), "CSV (RFC 4180)") from error

    def _json_lines(self) -> Iterator[tuple[int, str]]:
        accepted = "a JSON text, or an object whose 'key' is one"
        for number, line in self.lines():
            try:
                found = json.loads(line)
            except ValueError as error:
                raise self.refused(number, line[:100], accepted) from error
            key = found.get("key") if isinstance(found, dict) else found
            if not isinstance(key, str):
                raise self.refused(number, line[:100], accepted)
            yield number, key

    def _raw_lines(self) -> Iterator[tuple[int, str]]:
        """Yield all lines with their numbers and ends."""
        rest, number = b"", 0
        for place, block in enumerate(self._blocks()):
            rest += block if place else block.removeprefix(_BOM)
            *lines, rest = rest.split(b"\n")
            for line in lines:
                number += 1
                yield number, self._text(number, line + b"\n")
            if len(rest) > _LONGEST_LINE:
                self._text(number + 1, rest)
        if rest:
            yield number + 1, self._text(number + 1, rest)

    def _text(self, number: int, line: bytes) -> str:
        if len(line) > _LONGEST_LINE:
            accepted = f"lines of at most {_LONGEST_LINE} bytes"
            raise self.refused(number, f"{len(line)} bytes and more", accepted)
        try:
            return line.decode()
        except UnicodeDecodeError as error:
            raise self.refused(number, str(error.reason), "UTF-8") from error

    def _blocks(self) -> Iterator[bytes]:
        if self.store is None:
            yield from self._blocks_of_file()
            return
        try:
            identity = self.store.head(self.name).identity()
        except ObjectNotFoundError as error:
            raise self._missing() from error
        for start in range(0, identity.size, _BLOCK):
            stop = min(start + _BLOCK, identity.size)
            yield _read_range(self.store, self.name, identity, ByteRange(start=start, stop=stop))

    def _blocks_of_file(self) -> Iterator[bytes]:
        try:
            with Path(self.name).open("rb") as file:
                while block := file.read(_BLOCK):
                    yield block
        except OSError as error:
            raise self._missing(str(error.strerror)) from error

    def _missing(self, why: str = "there is no such object") -> InvalidInputError:
        return InvalidInputError(
            self.parameter, found=f"{self.uri}: {why}", accepted="a file that can be read"
        )


def _read_range(
    store: ObjectStore, key: str, identity: SourceIdentity, byte_range: ByteRange
) -> bytes:
    for last in [False] * (_TRIES - 1) + [True]:
        data = bytearray(byte_range.length)
        view, filled = memoryview(data), 0
        try:
            with store.open_range(key, byte_range, identity) as reader:
                while filled < len(data) and (count := reader.readinto(view[filled:])):
                    filled += count
        except TransientStoreError:
            if last:  # The body broke off; no layer reads it again.
                raise
            continue
        return bytes(data[:filled])
    msg = "unreachable"
    raise AssertionError(msg)


def ignored_lines(file: ListFile) -> tuple[str, ...]:
    """Return the patterns of an ignore list.

    :raises InvalidInputError: if there are too many of them.
    """
    found = list[str]()
    for _, line in file.lines():
        found.append(line)
        if len(found) > MOST_IGNORED:
            accepted = f"at most {MOST_IGNORED} lines; name prefixes or use exclude"
            found_lines = f"more lines in {file.uri}"
            raise InvalidInputError(file.parameter, found=found_lines, accepted=accepted)
    return tuple(found)


def names_under(
    names: Iterator[tuple[int, str]], file: ListFile, source_prefix: str
) -> Iterator[str]:
    """Yield names of a list, all of which have to lie in the source.

    :raises InvalidInputError: naming the first line that does not.
    """
    for number, name in names:
        if not name.startswith(source_prefix):
            accepted = f"what begins with the source's prefix, {source_prefix!r}"
            raise file.refused(number, name[:200], accepted)
        yield name
