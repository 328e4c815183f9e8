"""The pages for people: every file that they link exists."""

import re
from pathlib import Path

import pytest
from checkout import ROOT

from hala_hpc.data.corpus.reader import REJECTED, part_name, rejected_name

PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)#\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_of_a_page_lead_to_files_of_the_repository(page: Path) -> None:
    links = [found["target"] for found in LINK.finditer(page.read_text(encoding="utf-8"))]
    here = [link for link in links if "://" not in link]
    assert [link for link in here if not (page.parent / link).exists()] == []


def test_pages_that_explain_how_to_extend_are_linked_from_the_readme() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    names = {"architecture", "work-folder", "adding-a-stage", "adding-a-check", "adding-an-engine"}
    assert {name for name in names if f"docs/{name}.md" not in text} == set()


def test_no_line_about_a_cluster_is_longer_than_a_terminal_shows() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.partition("\n## On your cluster\n")[2].partition("\n##")[0]
    assert "hala_hpc.launch" in section
    assert [line for line in section.splitlines() if len(line) > 100] == []


def test_the_readme_names_the_files_of_rejected_rows() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    translated = re.escape(f"`{REJECTED}/{part_name(0)}`").replace("00000", r"\*")
    prepared = re.escape(f"`{rejected_name(0)}`").replace("00000", r"\*")
    assert re.search(translated, text)
    assert re.search(prepared, text)
