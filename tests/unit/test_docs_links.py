"""Links of the documentation lead somewhere: within the project by looking, beyond it by name."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.support.documents import ROOT, Page, pages, read_page, slug

PAGES = {page.path: page for page in pages()}
# Whose pages may be linked: `make docs-links` asks each, as no test here has a network.
HOSTS = frozenset(
    {
        "airflow.apache.org",
        "aws.amazon.com",
        "docs.astral.sh",
        "docs.aws.amazon.com",
        "docs.basedpyright.com",
        "docs.docker.com",
        "github.com",
        "keepachangelog.com",
        "packaging.python.org",
        "pypi.org",
        "rclone.org",
        "reproducible-builds.org",
        "s3.amazonaws.com",
        "semver.org",
        "towncrier.readthedocs.io",
        "www.alibabacloud.com",
        "www.apache.org",
        "www.sphinx-doc.org",
    }
)


def wrong(page: Page, link: str) -> str | None:
    """Return what is wrong with a link, if anything is."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        known = parts.scheme == "https" and parts.hostname in HOSTS
        return None if known else f"{link}: not an https:// URL of a host that may be linked"
    path, anchor = unquote(parts.path), unquote(parts.fragment)
    target = (page.path.parent / path).resolve() if path else page.path
    if not target.is_relative_to(ROOT):
        return f"{link}: outside of the project"
    if not target.exists():
        return f"{link}: nothing is there"
    if anchor and anchor not in PAGES[target].anchors():
        return f"{link}: no such heading"
    return None


@pytest.mark.parametrize("page", PAGES.values(), ids=lambda p: str(p.path.relative_to(ROOT)))
def test_links_lead_somewhere(page: Page) -> None:
    """Files are there, headings too, and other hosts are known ones."""
    assert not [found for found in (wrong(page, link) for link in page.links()) if found]


def test_wrong_links_are_found(tmp_path: Path) -> None:
    """Of each kind, and none in code."""
    path = tmp_path / "page.md"
    path.write_text(
        "# One `two` (three)\n[a](#one-two-three) [b](#two) [c](nowhere.md) `[d](nowhere.md)`\n"
        "[e](http://docs.aws.amazon.com/) [f](https://example.com/) <https://example.org/x>\n"
        "```text\n[g](nowhere.md)\n```\n[h]: nowhere.md#x\n[![i](no.svg)](page.md)\n"
    )
    page = read_page(path)
    links = ["#one-two-three", "#two", "nowhere.md", "http://docs.aws.amazon.com/"]
    links += ["https://example.com/", "page.md", "no.svg", "nowhere.md#x", "https://example.org/x"]
    assert list(page.links()) == links
    assert page.anchors() == {"one-two-three"}


def test_anchors_are_those_of_a_code_host() -> None:
    """Lower case, a hyphen for each blank, no punctuation, letters of all languages."""
    assert slug("Its S3-compatible endpoint") == "its-s3-compatible-endpoint"
    assert slug("`key_mapping`, `key_function`") == "key_mapping-key_function"
    assert slug("A & b: [c](d.md)") == "a--b-c"
    assert slug("Größe") == "größe"


def test_every_page_of_docs_is_reached() -> None:
    """From the first page of the site: its lists of pages name each, or fit it."""
    index = (ROOT / "docs" / "index.rst").read_text(encoding="utf-8")
    lines = [line.strip() for line in index.splitlines() if line.startswith("   ")]
    entries = [line.lstrip("/") for line in lines if line and not line.startswith(":")]
    reached = {
        found.resolve()
        for entry in entries
        for base in (ROOT, ROOT / "docs")
        for end in (".md", ".rst")
        for found in base.glob(f"{entry}{end}")
    }
    written = {path for path in PAGES if path.is_relative_to(ROOT / "docs")}
    assert written <= reached
