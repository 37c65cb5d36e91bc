"""Every block of code in the documentation is what it says it is, and names what is there.

Blocks of Python make tasks: ``tests/dags/test_documented.py``. The connections are read by
``tests/unit/test_hooks_oss_documented.py``.
"""

from __future__ import annotations

import configparser
import json
import re
import subprocess
import tomllib
from collections.abc import Callable, Iterator, Mapping
from functools import cache

import pytest
import yaml  # type: ignore[import-untyped]  # of Airflow, which needs no stubs for it
from airflow.configuration import retrieve_configuration_description

from tests.support import shell_words
from tests.support.documents import ROOT, Block, Page, make_targets, pages

PAGES = pages()
SHELL = frozenset({"sh", "bash"})
READ_ELSEWHERE = frozenset({"python", "text"})
CODE = {"airflow_provider_s3resume", "dags", "docs", "tests", "benchmarks"}
MAKE = re.compile(r"^make ((?:[a-z-]+(?: |$))+)")
NAMES = re.compile(r"\b(?:S3RESUME|DEMO)_[A-Z0-9_]*[A-Z0-9]\b")
SETTINGS = re.compile(r"\bAIRFLOW__([A-Z0-9_]+?)__([A-Z0-9_]*[A-Z0-9])\b")


def read_ini(text: str) -> None:
    """Read settings of Airflow, all of which it has to know."""
    read = configparser.ConfigParser(interpolation=None)
    read.read_string(text)
    named = {(s.upper(), o.upper()) for s in read.sections() for o in read.options(s)}
    if unknown := named - airflow_options():
        raise ValueError(f"Airflow has no {sorted(unknown)}")


READERS: Mapping[str, Callable[[str], object]] = {
    "json": json.loads,
    "yaml": lambda text: list(yaml.safe_load_all(text)),
    "toml": tomllib.loads,
    "ini": read_ini,
}


@cache
def airflow_options() -> frozenset[tuple[str, str]]:
    """Return all options of Airflow and its providers: section and name, in upper case."""
    described = retrieve_configuration_description().items()
    return frozenset((s.upper(), o.upper()) for s, d in described for o in d["options"])


@cache
def variables() -> frozenset[str]:
    """Return all variables of ours that code names."""
    folders = [ROOT / "dags", ROOT / "airflow_provider_s3resume", ROOT / "tests" / "support"]
    files = [path for folder in folders for path in folder.rglob("*.py")]
    return frozenset(n for path in files for n in NAMES.findall(path.read_text(encoding="utf-8")))


def blocks(languages: frozenset[str]) -> list[object]:
    """Return the blocks of these languages, each a parameter that says where it stands."""
    found = [block for page in PAGES for block in page.blocks if block.language in languages]
    return [pytest.param(block, id=block.place) for block in found]


def of_pages() -> list[object]:
    """Return the pages, each a parameter with its name."""
    return [pytest.param(page, id=str(page.path.relative_to(ROOT))) for page in PAGES]


def wrong_in(words: list[str]) -> Iterator[str]:
    """Yield what a command names that is not there."""
    if words[0] == "make":
        yield from (w for w in words[1:] if "=" not in w and w not in make_targets())
    if words[0] == "airflow":
        yield from shell_words.wrong_in_airflow(words[1:])
    if "-m" in words and words[0].rpartition("/")[2].startswith("python"):
        yield from shell_words.wrong_in_module(words[words.index("-m") + 1 :])
    yield from (word for word in words if names_a_missing_file(word))


def names_a_missing_file(text: str) -> bool:
    """Return whether this is a path in one of the project's folders, and nothing is there."""
    first, slash, _ = text.partition("/")
    if not slash or first not in CODE or set(text) & set("*<>{}…$ ()\"'=,:"):
        return False
    return not (ROOT / text).exists()


def targets_in(span: str) -> list[str]:
    """Return the targets that a piece of code between backticks gives to make."""
    found = MAKE.match(span)
    return found.group(1).split() if found else []


@pytest.mark.parametrize("page", of_pages())
def test_blocks_say_what_they_are(page: Page) -> None:
    """In a word that is known here, so that something looks at each."""
    known = {*SHELL, *READ_ELSEWHERE, *READERS}
    assert not {b.place: b.language for b in page.blocks if b.language not in known}


@pytest.mark.parametrize("block", blocks(frozenset(READERS)))
def test_documents_can_be_read(block: Block) -> None:
    """As the language that they are of; of settings each is known to Airflow."""
    READERS[block.language](block.text)


@pytest.mark.parametrize(
    ("language", "text"),
    [("json", "{'a': 1}"), ("yaml", "a: b: c"), ("toml", "a"), ("ini", "[core]\nno_such = 1")],
)
def test_documents_that_are_none_are_found(language: str, text: str) -> None:
    """In each language."""
    with pytest.raises((ValueError, yaml.YAMLError)):
        READERS[language](text)


@pytest.mark.parametrize("block", blocks(SHELL))
def test_shell(block: Block) -> None:
    """Is what a shell can run, and names targets, programs' options and files that are there."""
    read = subprocess.run(
        ["bash", "-n"], input=block.text, capture_output=True, text=True, check=False
    )
    assert (read.returncode, read.stderr) == (0, "")
    assert not [found for words in shell_words.commands(block.text) for found in wrong_in(words)]


@pytest.mark.parametrize("page", of_pages())
def test_what_the_text_names_is_there(page: Page) -> None:
    """Targets of make, files of the project, variables of the environment."""
    spans = page.spans()
    assert {word for span in spans for word in targets_in(span)} <= make_targets()
    assert not [span for span in spans if names_a_missing_file(span)]
    text = page.path.read_text(encoding="utf-8")
    assert set(NAMES.findall(text)) <= variables()
    assert set(SETTINGS.findall(text)) <= airflow_options()


def test_a_name_that_is_not_there_is_found() -> None:
    """Of a file, a target, a command of Airflow, an option of a module."""
    assert names_a_missing_file("tests/fault/test_no_such_thing.py")
    assert not names_a_missing_file("tests/unit/test_docs_blocks.py")
    assert list(wrong_in(["make", "no-such-target", "NAME=1"])) == ["no-such-target"]
    assert list(wrong_in(["airflow", "pools", "sat", "a", "1"])) == ["airflow pools sat a 1"]
    module = "airflow_provider_s3resume.permissions"
    assert list(wrong_in(["python", "-m", module, "--no-such"])) == [f"{module} has no --no-such"]
    assert list(wrong_in(["python", "-m", "no_such_module"])) == ["no_such_module"]


def test_commands_are_found_as_a_shell_finds_them() -> None:
    """Behind assignments, without comments, over lines, in pipes, and no here-document."""
    script = """
export A='one; two'  # not Bob's
A=1 make demo KEEP=1 && (cd docs; ls) # more
cat > file <<'END'
make nothing
END
python -m tests.matrix \\
  --write | tail
"""
    assert list(shell_words.commands(script)) == [
        ["make", "demo", "KEEP=1"],
        ["cd", "docs"],
        ["ls"],
        ["cat"],
        ["file"],
        ["python", "-m", "tests.matrix", "--write"],
        ["tail"],
    ]
