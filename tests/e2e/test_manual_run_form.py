"""The form of a manual run, as a person fills it in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium.common.exceptions import (
    ElementClickInterceptedException,
    NoSuchElementException,
    StaleElementReferenceException,
)
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support import expected_conditions
from selenium.webdriver.support.ui import WebDriverWait

from airflow_provider_s3resume.operators.params import RULES
from tests.e2e.places import writes_to
from tests.support.browser import browser
from tests.support.processes import wait_until
from tests.support.stage import NIGHTLY
from tests.support.wired_stage import WiredStage

pytestmark = pytest.mark.browser

DEADLINE_S = 60.0
DESCRIPTIONS = {
    "Source": {
        "Source connection": "Id of a connection of type aws or s3resume, for an s3:// source",
        "Source URI": "Bucket and prefix to read",
    },
    "Target": {
        "Target connection": "Id of a connection of type aws or s3resume.",
        "Target URI": "Bucket and prefix to write, on S3 or a compatible service.",
        "State location": "Where manifests, checkpoints and reports are kept.",
    },
    "What to copy": {
        "Rule": "What tells two objects of one key apart.",
        "Dry run": "Plan and report, copy nothing.",
    },
    "How to copy": {
        "Part size in MiB": "Of objects whose parts at the source are not reproduced.",
        "Memory in MiB": "Object data that one task holds at once.",
        "MiB per second": "What one task reads at most, and as much that it sends.",
        "Requests per second": "What one task asks the source at most, and as often the target.",
        "Copies by the service": "Where both sides are one service.",
    },
}


class Form:
    """The dialog that the button “Trigger” of a DAG's page opens."""

    def __init__(self, driver: Chrome, address: str) -> None:
        self._driver = driver
        self._wait = WebDriverWait(driver, DEADLINE_S)
        self._patient = WebDriverWait(
            driver,
            DEADLINE_S,
            ignored_exceptions=(
                NoSuchElementException,
                StaleElementReferenceException,
                ElementClickInterceptedException,
            ),
        )
        driver.get(address)
        self._click(By.CSS_SELECTOR, "[data-testid=trigger-dag-button]")
        self._visible(By.CSS_SELECTOR, "[data-testid=trigger-dag-submit]")

    def open_section(self, name: str) -> None:
        """Unfold a section."""
        self._click(By.XPATH, f"//*[@role='dialog']//button[normalize-space()='{name}']")

    def description(self, title: str) -> str:
        """Return the text below a field, once it is shown."""
        field = self._field(title)
        shown = field.find_element(By.CSS_SELECTOR, "[data-part=helper-text]")
        self._wait.until(expected_conditions.visibility_of(shown))
        return shown.text

    def choices(self, title: str) -> dict[str, WebElement]:
        """Open a field's list and return what it offers, by its words."""
        field = self._field(title)
        self._press(lambda: field.find_element(By.CSS_SELECTOR, "[role=combobox]"))
        offered = self._wait.until(
            lambda _: field.find_elements(By.CSS_SELECTOR, "[role=listbox] [role=option]")
        )
        return {one.text: one for one in offered}

    def choose(self, choice: WebElement) -> None:
        """Take one of a field's choices."""
        self._press(lambda: choice)

    def switch_on(self, title: str) -> None:
        """Turn a switch on, and see it on."""
        switch = self._field(title).find_element(By.CSS_SELECTOR, "[data-part=control]")
        assert switch.get_attribute("data-state") == "unchecked"
        self._press(lambda: switch)
        self._wait.until(lambda _: switch.get_attribute("data-state") == "checked")

    def submit(self) -> None:
        """Start the run, and see the dialog close."""
        self._click(By.CSS_SELECTOR, "[data-testid=trigger-dag-submit]")
        gone = (By.CSS_SELECTOR, "[data-testid=trigger-dag-submit]")
        self._wait.until(expected_conditions.invisibility_of_element_located(gone))

    def _field(self, title: str) -> WebElement:
        # A required field's label goes on with a star.
        label = f"label[starts-with(normalize-space(), '{title}')]"
        path = f"//*[@role='dialog']//*[@role='group'][.//{label}]"
        return self._wait.until(expected_conditions.presence_of_element_located((By.XPATH, path)))

    def _click(self, by: str, value: str) -> None:
        self._press(lambda: self._driver.find_element(by, value))

    def _press(self, find: Callable[[], WebElement]) -> None:
        # Sections unfold by animations: until they end, another element may lie where the one asked
        # for is about to be, and the browser refuses the click without making it.
        def pressed(_: Chrome) -> bool:
            element = find()
            if not (element.is_displayed() and element.is_enabled()):
                return False
            element.click()
            return True

        self._patient.until(pressed)

    def _visible(self, by: str, value: str) -> None:
        self._wait.until(expected_conditions.visibility_of_element_located((by, value)))


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Chrome]:
    """Give a browser."""
    with browser(tmp_path / "profile") as running:
        yield running


def test_a_dry_run_is_started_from_the_form(
    stage: WiredStage, driver: Chrome, tmp_path: Path
) -> None:
    """All parameters are explained; what is set there is what the run gets, and nothing is copied.

    The run ends in success, and no request of it could have changed the target.
    """
    api = stage.airflow.api
    stage.airflow.wait_for_dag(NIGHTLY)
    known = {run["dag_run_id"] for run in api.call("GET", f"dags/{NIGHTLY}/dagRuns")["dag_runs"]}
    written = len(writes_to(stage))

    form = Form(driver, f"{stage.airflow.url}/dags/{NIGHTLY}")
    for section, fields in DESCRIPTIONS.items():
        form.open_section(section)
        for title, words in fields.items():
            assert form.description(title).startswith(words)
    form.open_section("What to copy")
    rules = form.choices("Rule")
    assert list(rules) == list(RULES)
    form.choose(rules["size+newer"])
    form.switch_on("Dry run")
    assert driver.save_screenshot(str(tmp_path / "form.png"))
    form.submit()

    def started() -> list[dict[str, str]]:
        runs = api.call("GET", f"dags/{NIGHTLY}/dagRuns", limit=100)["dag_runs"]
        return [run for run in runs if run["dag_run_id"] not in known]

    wait_until(lambda: bool(started()), deadline_s=DEADLINE_S, what="a run was started")
    (run,) = started()
    state = api.wait_run(NIGHTLY, run["dag_run_id"])
    assert state == "success", stage.logs(run["dag_run_id"])
    conf = api.call("GET", f"dags/{NIGHTLY}/dagRuns/{run['dag_run_id']}")["conf"]
    assert (conf["dry_run"], conf["rule"]) == (True, "size+newer")
    report = stage.report(run["dag_run_id"])
    assert (report["dry_run"], report["copied"], report["sent_parts"]) == (True, 0, 0)
    assert len(writes_to(stage)) == written
