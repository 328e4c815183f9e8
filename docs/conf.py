"""Sphinx settings of the site that `make docs` builds.

The source folder is the whole repository, so that links from a page to the README, to examples and
to code are the same in the site and on the forge. The navigation is made of the lists of the index.
"""

import re
from typing import Any

project = "hala_hpc"
extensions = ["myst_parser"]
root_doc = "docs/README"
include_patterns = ["*.md", "docs/**.md", "examples/*.md"]
# Without these the folders of environments and runs would be searched.
exclude_patterns = [".*", "runs", "build", "dist", "hala_hpc", "tests", "benchmarks", "slurm"]

# Anchors as on the forge, and links to them are checked.
myst_heading_anchors = 4
# Lists of files and commands are no definition lists; a bare address stays text.
myst_enable_extensions: list[str] = []

html_theme = "furo"
html_title = "hala_hpc"
# A start page at the top of the site, as the index is docs/README.html.
html_extra_path = ["site"]
html_copy_source = False
html_show_sphinx = False

_SECTION = re.compile(r"^## (?P<caption>.+)$", re.M)
_PAGE_LINK = re.compile(r"\]\((?P<page>[^)#:\s]+)\.md\)")


def make_contents(text: str) -> str:
    """The navigation: for each section of the index the pages that it links, each once."""
    parts = _SECTION.split(text)
    found: list[str] = []
    listed: set[str] = set()
    for caption, body in zip(parts[1::2], parts[2::2], strict=True):
        pages = [match["page"] for match in _PAGE_LINK.finditer(body)]
        fresh = [page for page in dict.fromkeys(pages) if page not in listed]
        listed.update(fresh)
        if fresh:
            head = ["```{toctree}", ":hidden:", f":caption: {caption}", ""]
            found += ["", *head, *fresh, "```", ""]
    return "\n".join(found)


def add_contents(app: Any, docname: str, source: list[str]) -> None:
    """Add the navigation to the index while it is read: the forge shows the file without it."""
    if docname == app.config.root_doc:
        source[0] += make_contents(source[0])


def setup(app: Any) -> None:
    """Register the hook."""
    app.connect("source-read", add_contents)
