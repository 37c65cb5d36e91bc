"""Patterns for keys: globs, the predecessor's ignore lines, and regexes, each made one regex.

A glob is rclone's ("Filtering"): ``*`` and ``?`` stay inside of a ``/``-separated segment, ``**``
does not. No glob can make the matching of a key take more than about the square of its length:
what may be tried again is held in atomic groups. A regex is refused if it nests repeats, as such a
one may take longer than anybody waits.
"""

from __future__ import annotations

import fnmatch
import importlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from airflow_provider_s3resume.exceptions import InvalidInputError

MOST_CHARACTERS: Final = 1024
"""Of one pattern: no key is longer ("Naming Amazon S3 objects" counts bytes)."""
MOST_ALTERNATIVES: Final = 100
"""Patterns that the braces of one glob stand for."""

_ANY, _STAR, _STARS = "[^/]", "*", "**"
_GLOB: Final = (
    "a glob such as '*.csv', '/logs/**' or 'img/{a,b}[0-9].png' ('*' and '?' do not cross '/', "
    "'**' does, '\\' takes the next character as it is)"
)
_REGEX: Final = (
    "a regular expression of Python's without repeats or alternatives inside of repeats, without "
    "named groups, references to groups and flags that are not of a group, and with few repeats "
    "whose number is free, such as '(?i:[.]csv)$'"
)
_MOST_REPEATS: Final = 10
"""Repeats that may be tried in every combination of what is repeated."""
_MOST_CHOICES: Final = 16
"""Repeats whose number is free, and alternatives, once all other repeats are written out: thirty
optional letters before the same thirty letters are tried in 2**30 ways."""

# The only way to see how a regex is built; the versions of Python that are supported have it.
_SRE: Final[Any] = importlib.import_module("re._parser")
_REPEATS: Final = frozenset({"MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"})


def matcher(regexes: Iterable[str]) -> Callable[[str], object] | None:
    """Return what finds any of the regexes in a text, ``None`` if there are none."""
    made = "|".join(f"(?:{regex})" for regex in regexes)
    return re.compile(made).search if made else None


def glob_regexes(pattern: str, *, parameter: str) -> list[str]:
    """Return the regexes of a glob, one for each of its alternatives, to be searched for.

    :raises InvalidInputError: naming the parameter, if it is no glob.
    """
    try:
        _check_length(pattern)
        return [_one_glob(one) for one in _alternatives(pattern)]
    except ValueError as error:
        found = f"{_shown(pattern)}: {error}"
        raise InvalidInputError(parameter, found=found, accepted=_GLOB) from error


def ignore_regex(pattern: str) -> str:
    """Return the regex of a line of the predecessor's ignore list, matched with bucket and key.

    As ``fnmatch.fnmatchcase`` has it: ``*`` and ``?`` cross ``/``, and nothing is ever wrong with
    a pattern: a bracket that is not closed stands for itself.
    """
    return r"\A" + fnmatch.translate(pattern)


def check_regex(text: str, *, parameter: str) -> str:
    """Return a regex that may be used beside others, whose tries do not double with each letter.

    A power of the key's length is left: with four repeats of no bound in a row, such as in
    ``.*a.*a.*a.*b``, a key of hundreds of letters can take seconds.

    :raises InvalidInputError: naming the parameter.
    """
    try:
        _check_length(text)
        parsed = _SRE.parse(text)
        risk = _risk(parsed)
        if risk is not None:
            raise ValueError(risk)  # noqa: TRY301 - one error for all that can be wrong
        choices = _choices(parsed)
        if choices > _MOST_CHOICES:
            told = f"{choices} free repeats and alternatives, the most are {_MOST_CHOICES}"
            raise ValueError(told)  # noqa: TRY301 - as above
        re.compile(f"(?:{text})")
    except (ValueError, re.error, RecursionError, OverflowError) as error:
        found = f"{_shown(text)}: {error}"
        raise InvalidInputError(parameter, found=found, accepted=_REGEX) from error
    return text


def _shown(pattern: str) -> str:
    return repr(pattern if len(pattern) <= MOST_CHARACTERS else f"{pattern[:100]}…")


def _check_length(pattern: str) -> None:
    if not pattern:
        raise ValueError("it is empty")
    if len(pattern) > MOST_CHARACTERS:
        raise ValueError(f"it has {len(pattern)} characters, the most are {MOST_CHARACTERS}")


# --- globs --------------------------------------------------------------------------------------


def _alternatives(pattern: str) -> list[str]:
    """Return what a pattern stands for once its braces are gone."""
    todo, done = [pattern], list[str]()
    while todo:
        one = todo.pop()
        found = _braces(one)
        if found is None:
            done.append(one)
        else:
            head, words, tail = found
            todo += [head + word + tail for word in reversed(words)]
        if len(todo) + len(done) > MOST_ALTERNATIVES:
            raise ValueError(f"it stands for more than {MOST_ALTERNATIVES} patterns")
    return done


def _braces(pattern: str) -> tuple[str, list[str], str] | None:
    """Return what stands before the first braces, in them, and behind them."""
    start, words, begun = -1, list[str](), 0
    for at, character in _plain_characters(pattern):
        if character == "{":
            if start >= 0:
                raise ValueError("braces inside of braces")
            start, begun = at, at + 1
        elif start >= 0 and character in ",}":
            words.append(pattern[begun:at])
            begun = at + 1
            if character == "}":
                return pattern[:start], words, pattern[at + 1 :]
        elif character == "}":
            raise ValueError("a '}' without a '{'")
    if start >= 0:
        raise ValueError("a '{' without a '}'")
    return None


def _plain_characters(pattern: str) -> Iterator[tuple[int, str]]:
    """Yield the characters, with their places, that are neither escaped nor in brackets."""
    at = 0
    while at < len(pattern):
        if pattern[at] == "\\":
            at += 2
        elif pattern[at] == "[":
            at = _end_of_class(pattern, at) + 1
        else:
            yield at, pattern[at]
            at += 1


def _end_of_class(pattern: str, start: int) -> int:
    at = start + 1
    at += pattern[at : at + 1] in {"!", "^"}
    first = at
    while at < len(pattern) and (pattern[at] != "]" or at == first):
        at += 2 if pattern[at] == "\\" else 1
    if at >= len(pattern):
        raise ValueError("a '[' without a ']'")
    return at


def _one_glob(pattern: str) -> str:
    """Return the regex of a glob without braces.

    Between two ``**`` the first place that fits is as good as any later one, which makes atomic
    groups possible; the last stretch has to reach the end, and is tried at every place.
    """
    anchored = pattern.startswith("/")
    body = pattern[anchored:]
    tokens = _tokens(body + "**" if body.endswith("/") else body)
    if not tokens:
        raise ValueError("it is '/' alone")
    *stretches, last = _split(tokens, _STARS)
    regex = r"\A"
    if stretches:
        somewhere = "" if anchored else "(?:.*?/)??"
        regex += f"(?>{somewhere}{_stretch(stretches[0])})"
        regex += "".join(f"(?>.*?{_stretch(one)})" for one in stretches[1:]) + ".*"
    elif not anchored:
        regex += "(?:.*/)?"
    return f"(?s:{regex}{_stretch(last, to_end=True)}\\Z)"


def _stretch(tokens: Sequence[str], *, to_end: bool = False) -> str:
    """Return the regex of what stands between two ``**``."""
    first, *rest = _split(tokens, _STAR)
    regex = "".join(first)
    for number, piece in enumerate(rest, 1):
        text = "".join(piece)
        at_end = to_end and number == len(rest)
        regex += f"[^/]*{text}" if at_end else f"(?>[^/]*?{text})"
    return regex


def _split(tokens: Sequence[str], separator: str) -> list[list[str]]:
    found: list[list[str]] = [[]]
    for token in tokens:
        if token == separator:
            found.append([])
        else:
            found[-1].append(token)
    return found


def _tokens(pattern: str) -> list[str]:
    """Return a glob as regexes of one character each, and stars."""
    found, at = list[str](), 0
    while at < len(pattern):
        character = pattern[at]
        if character == "*":
            stars = len(pattern) - at - len(pattern[at:].lstrip("*"))
            if stars > len(_STARS):
                raise ValueError("more than two stars in a row")
            found.append("*" * stars)
            at += stars
        elif character == "?":
            found.append(_ANY)
            at += 1
        elif character == "[":
            end = _end_of_class(pattern, at)
            found.append(_class(pattern[at + 1 : end]))
            at = end + 1
        else:
            at += character == "\\"
            if at >= len(pattern):
                raise ValueError("nothing behind the last '\\'")
            # A star that stands for itself must not be taken for one that does not.
            found.append(re.escape(pattern[at]))
            at += 1
    return found


def _class(inner: str) -> str:
    """Return the regex of what stands in brackets; it never means a ``/``."""
    negated = inner[0] in "!^"
    rest, ranges = inner[negated:], list[str]()
    letters: list[str] = []
    plain: list[bool] = []
    at = 0
    while at < len(rest):
        escaped = rest[at] == "\\"
        at += escaped
        letters.append(rest[at])
        plain.append(not escaped)
        at += 1
    at = 0
    while at < len(letters):
        first = last = letters[at]
        if at + 2 < len(letters) and letters[at + 1] == "-" and plain[at + 1]:
            last = letters[at + 2]
            at += 2
        if first > last:
            raise ValueError(f"the range {first}-{last} in brackets is turned round")
        ranges.append(f"{re.escape(first)}-{re.escape(last)}")
        at += 1
    return f"(?!/)[{'^' * negated}{''.join(ranges)}]"


# --- regexes ------------------------------------------------------------------------------------


def _risk(parsed: Any, *, repeated: bool = False) -> str | None:  # noqa: ANN401 - not typed by Python
    """Say what in a regex may take forever, or does not stand beside other regexes."""
    for operation, found in parsed:
        name = str(operation)
        if name in {"GROUPREF", "GROUPREF_EXISTS"}:
            return "a reference to a group"
        if repeated and name == "BRANCH":
            return "alternatives inside of a repeat"
        if name in _REPEATS:
            least, most, body = found
            varies = least != most
            if repeated and varies:
                return "a repeat inside of a repeat"
            inner = _risk(body, repeated=repeated or (varies and int(most) > _MOST_REPEATS))
        else:
            inner = next(
                filter(None, (_risk(one, repeated=repeated) for one in _inside(name, found))), None
            )
        if inner is not None:
            return inner
    return "a named group" if getattr(parsed.state, "groupdict", None) else None


def _choices(parsed: Any, times: int = 1) -> int:  # noqa: ANN401 - not typed by Python
    """Count alternatives, and repeats whose number is free, as often as each is repeated."""
    count = 0
    for operation, found in parsed:
        name = str(operation)
        if name in _REPEATS:
            least, most, body = found
            few = least == most or int(most) <= _MOST_REPEATS
            count += times * (least != most)
            count += _choices(body, times * int(most) if few else times)
        else:
            count += times * (name == "BRANCH")
            count += sum(_choices(one, times) for one in _inside(name, found))
    return count


def _inside(name: str, found: Any) -> list[Any]:  # noqa: ANN401 - not typed by Python
    if name == "BRANCH":
        return list(found[1])
    if name == "SUBPATTERN":
        return [found[3]]
    if name in {"ASSERT", "ASSERT_NOT"}:
        return [found[1]]
    return [found] if name == "ATOMIC_GROUP" else []
