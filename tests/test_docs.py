"""The pages for people: links, commands, the reference, and the way to an answer."""

import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest
from checkout import ROOT

from hala_hpc import __version__
from hala_hpc.data.corpus.reader import REJECTED, part_name, rejected_name

INDEX = ROOT / "docs" / "README.md"
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted(ROOT.glob("docs/**/*.md")),
    *ROOT.glob("examples/*.md"),
]
LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)#\s]+)(?:#[^)]*)?\)")
SECTION_LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^):#\s]*)#(?P<section>[^)]+)\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}-{page.name}")
def test_links_of_a_page_lead_to_files_of_the_repository(page: Path) -> None:
    links = [found["target"] for found in LINK.finditer(page.read_text(encoding="utf-8"))]
    here = [link for link in links if "://" not in link]
    assert [link for link in here if not (page.parent / link).exists()] == []


def test_pages_that_explain_how_to_extend_are_linked_from_the_readme() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    names = {"architecture", "work-folder", "adding-a-stage", "adding-a-check", "adding-an-engine"}
    names |= {"failures", "changing-an-sbatch-flag", "README"}
    assert {name for name in names if f"docs/{name}.md" not in text} == set()


@cache
def linked_pages(page: Path) -> set[Path]:
    """The pages of the repository that a page links."""
    found = LINK.finditer(page.read_text(encoding="utf-8"))
    targets = {(page.parent / each["target"]).resolve() for each in found}
    return {target for target in targets if target.suffix == ".md" and target.exists()}


def test_every_page_of_the_docs_is_one_click_from_the_index() -> None:
    pages = set((ROOT / "docs").rglob("*.md"))
    assert pages - linked_pages(INDEX) == {INDEX}


def test_each_of_the_20_questions_has_its_answer_within_two_clicks_of_the_index() -> None:
    text = (ROOT / "docs" / "questions.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (?P<question>.+\?) \| \[.*\]\((?P<page>[^)#]+)", text, re.M)
    assert len(rows) == 20
    near = linked_pages(INDEX)
    within_two = near.union(*(linked_pages(page) for page in near))
    far = [question for question, page in rows if ROOT / "docs" / page not in within_two]
    assert far == []


def test_the_reference_is_that_of_the_code() -> None:
    checked = subprocess.run(
        [sys.executable, "docs/reference_pages.py", "check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.returncode, checked.stdout.strip()) == (0, ""), (
        "python docs/reference_pages.py writes it again",
        checked,
    )


@pytest.mark.timeout(1600)
@pytest.mark.long
def test_the_site_is_built_without_a_warning() -> None:
    built = subprocess.run(
        ["make", "docs"], cwd=ROOT, capture_output=True, text=True, timeout=1500, check=False
    )
    assert built.returncode == 0, built
    assert (ROOT / "build" / "docs" / "docs" / "README.html").is_file()
    assert "WARNING" not in built.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}-{page.name}")
def test_links_to_a_section_name_one_that_is_there(page: Path) -> None:
    for found in SECTION_LINK.finditer(page.read_text(encoding="utf-8")):
        target = page.parent / found["target"] if found["target"] else page
        heads = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.M)
        anchors = {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}
        assert found["section"] in anchors, (page, found[0])


def test_the_changelog_begins_with_the_version_of_the_package() -> None:
    heads = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)
    assert heads[0] == __version__


def test_the_citation_is_valid_and_names_the_paper() -> None:
    yaml = pytest.importorskip("yaml")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    (paper,) = citation["references"]
    assert (paper["doi"], len(paper["authors"])) == ("10.48550/arXiv.2509.14008", 3)
    assert "2509.14008" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_license_is_the_one_that_the_package_names() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert project["license"] == "Apache-2.0"
    assert text.split()[:5] == ["Apache", "License", "Version", "2.0,", "January"]
    assert "END OF TERMS AND CONDITIONS" in text


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
