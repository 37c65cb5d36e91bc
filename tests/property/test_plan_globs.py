"""Globs against a matcher that tries everything, and what no pattern may do."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.plan.globs import (
    MOST_ALTERNATIVES,
    check_regex,
    glob_regexes,
    ignore_regex,
    matcher,
)

PIECES = st.lists(
    st.sampled_from(["a", "b", "/", "*", "**", "?", "[ab]", "[!a]", "ab", "\n", "é"]), max_size=8
).filter(lambda pieces: "***" not in "".join(pieces))
KEYS = st.text(alphabet=["a", "b", "c", "/", "\n", "é", "*"], max_size=10)


def fits(pieces: list[str], key: str) -> bool:
    """Say in the plainest words whether a glob of these pieces fits a key."""
    anchored = pieces[0] == "/"
    wanted = tuple(re.findall(r"\*\*|\*|\[[^]]*\]|.", "".join(pieces[anchored:]), re.DOTALL))
    if wanted[-1] == "/":
        wanted = (*wanted, "**")

    @cache
    def rest_fits(piece: int, at: int) -> bool:
        if piece == len(wanted):
            return at == len(key)
        one = wanted[piece]
        if one in {"*", "**"}:
            ends = range(at, len(key) + 1)
            return any(
                rest_fits(piece + 1, end) and (one == "**" or "/" not in key[at:end])
                for end in ends
            )
        if at == len(key):
            return False
        found = key[at]
        same = {
            "?": found != "/",
            "[ab]": found in "ab",
            "[!a]": found not in "a/",
        }.get(one, found == one)
        return same and rest_fits(piece + 1, at + 1)

    starts = [0] if anchored else [0, *(m.end() for m in re.finditer("/", key))]
    return any(rest_fits(0, start) for start in starts)


def found(pattern: str, key: str) -> bool:
    """Match as a selection does."""
    search = matcher(glob_regexes(pattern, parameter="p"))
    return search is not None and search(key) is not None


@given(pieces=PIECES, key=KEYS)
def test_a_glob_fits_what_a_matcher_that_tries_everything_finds(
    pieces: list[str], key: str
) -> None:
    """Atomic groups leave nothing out and let nothing in."""
    pattern = "".join(pieces)
    if pattern in {"", "/"}:
        with pytest.raises(InvalidInputError, match="p: found"):
            glob_regexes(pattern, parameter="p")
        return
    assert found(pattern, key) == fits(pieces, key)


@pytest.mark.parametrize(
    ("pattern", "inside", "outside"),
    [
        ("*.csv", ["a.csv", "d/a.csv", ".csv", "a\nb.csv"], ["a.csv.gz", "a.csv/b", "acsv"]),
        ("/*.csv", ["a.csv"], ["d/a.csv"]),
        ("logs/*", ["logs/a", "x/logs/a", "logs/"], ["logs/a/b", "mylogs/a"]),
        ("/logs/**", ["logs/a/b", "logs/"], ["x/logs/a", "logs"]),
        ("logs/", ["logs/a/b", "x/logs/", "logs/"], ["logs", "mylogs/a"]),
        ("p", ["p", "a/p"], ["pq", "pq/x", "p/x"]),
        ("a/**/z", ["a/b/z", "a/b/c/z", "a//z"], ["a/z", "a/b/zz"]),
        ("img/{a,b}[0-9].png", ["img/a1.png", "img/b9.png"], ["img/c1.png", "img/a.png"]),
        (r"a\*", ["a*"], ["ab"]),
        (r"[\]a-]", ["]", "a", "-"], ["b"]),
        ("[]a]", ["]", "a"], ["b"]),
        ("[^a]", ["b", "^"], ["a", "/"]),
        ("{,x}a", ["a", "xa"], ["ya"]),
        ("a//b", ["a//b"], ["a/b"]),
        ("**", ["", "a", "a/b\n"], []),
    ],
)
def test_the_language_of_globs(pattern: str, inside: list[str], outside: list[str]) -> None:
    """Each rule of the documentation."""
    assert [key for key in inside if not found(pattern, key)] == []
    assert [key for key in outside if found(pattern, key)] == []


@pytest.mark.parametrize(
    "pattern",
    [
        *("", "/", "a[", "a[]", "[!]", "{a", "a}", "{a,{b}}", "a***b", "a\\", "[z-a]"),
        "x" * 1025,
        "{a,b}" * 7,
    ],
)
def test_what_is_no_glob_is_refused_by_name(pattern: str) -> None:
    """The message shows the pattern and says how globs look."""
    with pytest.raises(InvalidInputError, match=r"selection\.include: found .*accepted is a glob"):
        glob_regexes(pattern, parameter="selection.include")
    assert MOST_ALTERNATIVES < 2**7


@pytest.mark.parametrize(
    "pattern",
    ["*a*a*a*a*a*a*a*a*a*ab", "**a**a**a**a**a**a**a**a**ab", "*a**a*a**a*a**a*a**ab", "?*" * 30],
)
def test_no_glob_takes_forever(pattern: str) -> None:
    """A pattern made to be tried in all ways is tried in few; else this test would not end."""
    assert not found(pattern, "a" * 1023 + "c/")
    assert not found(pattern, "/".join("a" * 511) + "/c/")


@given(pattern=st.text(alphabet="ab*?[]!/-", max_size=8), key=KEYS)
def test_an_ignore_line_is_what_the_predecessor_took_it_for(pattern: str, key: str) -> None:
    """Shell wildcards that cross slashes, on bucket and key, upper and lower case apart."""
    search = matcher([ignore_regex(pattern)])
    assert search is not None
    assert (search(key) is not None) == fnmatchcase(key, pattern)


@pytest.mark.parametrize(
    "regex",
    [
        "(a+)+b",
        "(a|b|ab)*c",
        "(a*)*",
        "(?:a{1,2}){1,20}",
        "((ab?)+)+",
        r"(a)\1",
        "(?P<name>a)",
        "(?i)a",
        "a(",
        "a)|(b",
        "",
        "x" * 1025,
        "a{1,99999999999999999999}",
        "[z-a]",
        "(?=(a+)+b)",
        "(?>(a|ab)*)c",
        "(a?){30}a{30}",
        "(?:a|aa){30}b",
        "a?" * 30 + "a" * 30,
        "((a?){6}){3}b",
        "(?=(?:a{0,2}){17})",
    ],
)
def test_a_regex_that_may_run_wild_is_refused_by_name(regex: str) -> None:
    """Nested repeats, references, and what does not stand beside other regexes."""
    with pytest.raises(InvalidInputError, match=r"selection\.include_regex: found"):
        check_regex(regex, parameter="selection.include_regex")


@pytest.mark.parametrize(
    ("regex", "inside", "outside"),
    [
        (r"\.csv$", "a/b.csv", "a/b.csv.gz"),
        (r"^logs/\d{4}-\d\d-\d\d/", "logs/2026-01-01/a", "x/logs/2026-01-01/a"),
        (r"(?i:report)", "a/REPORT.pdf", "a/rapport"),
        (r"(jpe?g|png)$", "a.jpeg", "a.gif"),
        (r"(\d{1,3}\.){3}\d{1,3}", "host-10.0.0.1.log", "host-10.0.log"),
        (r"^(?!tmp/)", "a/b", "tmp/a"),
        (r"^(\w+/){3}\d+-\d+-\d+T\d+:\d+\.[a-z]+$", "a/b/c/1-2-3T4:5.x", "a/b/1-2-3T4:5.x"),
        ("^" + "a?" * 16 + "b", "aab", "c"),
    ],
)
def test_a_usual_regex_is_searched_for(regex: str, inside: str, outside: str) -> None:
    """Beside others it means what it means alone."""
    checked = check_regex(regex, parameter="r")
    search = matcher(["^zzz$", checked])
    assert search is not None
    assert search(inside) is not None
    assert search(outside) is None


def test_no_patterns_are_no_matcher() -> None:
    """Nothing has to be asked then."""
    assert matcher([]) is None
