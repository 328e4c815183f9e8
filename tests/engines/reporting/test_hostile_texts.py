"""Names, data and answers with markup, scripts, directions and null bytes change no page."""

import csv
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hostile_run import make_run_of_texts
from hostile_texts import hostile_texts
from page_markup import PageMarkup, read_page

from hala_hpc.core.printable import BIDI_CONTROLS

# Its page is made in most of a minute; test_page_in_browser.py looks at such a one in `make test`.
pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report about a run of hostile texts."""
    folder = tmp_path_factory.mktemp("hostile")
    texts = hostile_texts()
    return make_run_of_texts(folder / "work", texts).make_report(folder, title=texts[0])


@pytest.fixture(scope="module")
def page(hostile: Path) -> PageMarkup:
    """Its markup."""
    return read_page(hostile)


def test_no_text_becomes_an_element(page: PageMarkup, tmp_path: Path) -> None:
    # Reasons and names are sorted by nothing: harmless ones have the same places.
    plain = [f"text {number:03}" for number in range(200)]
    expected = read_page(make_run_of_texts(tmp_path / "work", plain).make_report(tmp_path))
    assert page.faults == []
    assert page.tags == expected.tags
    assert page.scripts() == []
    assert list(page.addresses()) == []
    assert len(page.ids) == len(set(page.ids))


def test_no_text_is_invisible_or_longer_than_a_cell(hostile: Path, page: PageMarkup) -> None:
    html = (hostile / "report.html").read_text(encoding="utf-8")
    assert not set(html) & {*BIDI_CONTROLS, "\0", "\x1b", "\x7f", "\u2028", "\ufffe"}
    shown = "".join(page.texts)
    assert "null\\x00byte" in shown
    assert "\\u202eright to left" in shown
    assert "(1,000,000 characters)" in shown
    assert max(map(len, page.texts)) < 20_000, "the style is the longest"
    assert len(html) < 5_000_000


def test_a_text_is_shown_as_it_is(page: PageMarkup) -> None:
    for text in ("<script>alert(1)</script>", "{{ alert(1) }}{% for x in y %}", "]]>alert(1)"):
        assert text in page.texts


def test_files_beside_the_page_are_valid_and_run_nothing(hostile: Path) -> None:
    files = sorted((hostile / "figures").iterdir())
    assert {path.suffix for path in files} == {".csv", ".svg", ".tex"}
    csv.field_size_limit(10_000_000)
    for path in files:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".svg":
            names = {
                element.tag.rpartition("}")[2] for element in ElementTree.fromstring(text).iter()
            }
            assert not names & {"script", "foreignObject", "image", "a"}, path
        elif path.suffix == ".csv":
            with path.open(newline="", encoding="utf-8") as lines:
                rows = list(csv.reader(lines))
            assert {len(row) for row in rows} == {len(rows[0])}, path
            assert not [c for row in rows for c in row if c.startswith(("=", "@"))], path
        else:
            bare = text.replace(r"\\", "").replace(r"\textbackslash{}", "")
            assert bare.count(r"\begin{") == bare.count(r"\end{") == 1, path


def test_the_page_forbids_whatever_it_does_not_need(hostile: Path) -> None:
    html = (hostile / "report.html").read_text(encoding="utf-8")
    assert "default-src 'none'; style-src 'unsafe-inline'" in html
    assert html.index("Content-Security-Policy") < html.index("<title>")
