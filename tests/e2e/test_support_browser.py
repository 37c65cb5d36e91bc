"""The browser that the tests of the pages stand on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.browser import browser

PAGE = "<title>One</title><script>document.title = 'Two'</script><p id=here>text</p>"


@pytest.mark.browser
def test_a_page_and_its_script_are_shown(tmp_path: Path) -> None:
    """The title that the script sets is seen, and a screenshot can be taken."""
    page = tmp_path / "page.html"
    page.write_text(PAGE)
    with browser(tmp_path / "profile") as driver:
        driver.get(page.as_uri())
        assert driver.title == "Two"
        assert driver.find_element("id", "here").text == "text"
        assert driver.save_screenshot(str(tmp_path / "page.png"))
