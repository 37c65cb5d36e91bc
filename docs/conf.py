"""How Sphinx makes the site: `make docs`. Why it is made so: docs/adr/0034-docs-site.md.

The source folder is the clone itself, so that links between README.md and docs/ hold as they stand.
"""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from typing import cast

from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parent.parent
# Airflow, which autodoc imports, makes files where it is at home.
os.environ["AIRFLOW_HOME"] = str(ROOT / ".state" / "docs" / "airflow")
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "True"
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"

from airflow_provider_s3resume import __version__

# Each test, and each parse of a DAG, says so; here nobody reads it.
logging.getLogger("airflow").setLevel(logging.ERROR)

project = "airflow_provider_s3resume"
author = "The authors of airflow_provider_s3resume"
release = version = __version__
language = "en"

extensions = ["myst_parser", "sphinx.ext.autodoc"]
root_doc = "docs/index"
include_patterns = ["*.md", "docs/**"]
exclude_patterns = [".*", "**/__pycache__", "docs/site"]
# The heading of a release stands over its changes once it is made.
suppress_warnings = ["myst.header"]

# Headings have the anchors that a code host gives them.
myst_heading_anchors = 4
myst_links_external_new_tab = False

autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_class_signature = "mixed"
add_module_names = False
toc_object_entries_show_parents = "hide"
nitpicky = True
# Of others, or of our own insides, which the reference does not show.
nitpick_ignore_regex = [
    ("py:exc", r"Airflow\w+Exception"),
    ("py:.*", r"airflow\..*"),
    ("py:.*", r"airflow_provider_s3resume\.(storage|transfer|plan)\..*"),
]

html_theme = "furo"
html_title = f"airflow_provider_s3resume {__version__}"
html_extra_path = ["site"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True, "top_of_page_buttons": []}

_SEVERAL = re.compile(r"^:param (\w+(?:,\s*\w+)+):(.*?)(?=^:|\Z|^$)", re.DOTALL | re.MULTILINE)


def each_by_itself(*given: object) -> None:
    """Give every one of several parameters that share a description a field of its own."""
    lines = cast("list[str]", given[-1])

    def fields(found: re.Match[str]) -> str:
        return "".join(f":param {name}:{found[2]}" for name in re.split(r",\s*", found[1]))

    lines[:] = _SEVERAL.sub(fields, "\n".join(lines) + "\n").split("\n")


def setup(app: Sphinx) -> None:
    """Ask to see each docstring before it is parsed."""
    app.connect("autodoc-process-docstring", each_by_itself)
