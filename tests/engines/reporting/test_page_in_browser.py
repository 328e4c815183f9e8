"""A real browser opens a page of hostile texts: no message, no request, no overflow."""

from pathlib import Path
from unicodedata import bidirectional

import pytest
from hostile_run import make_run_of_texts
from hostile_texts import hostile_texts
from page_browser import open_page

pytestmark = pytest.mark.slow

#: Text and background of every element with a text of its own, as computed colors.
COLORS = """
const back = e => { const c = getComputedStyle(e).backgroundColor;
    return c.includes('rgba(0, 0, 0, 0)') && e.parentElement ? back(e.parentElement) : c; };
const own = e => [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim());
return [...document.body.querySelectorAll('*')].filter(e => own(e) && e.getClientRects().length)
    .map(e => [getComputedStyle(e)[e.tagName === 'text' ? 'fill' : 'color'], back(e)]);
"""
#: Directions of the cells of examples, by the first strong letter that Python sees as well.
DIRECTIONS = """
return [...document.querySelectorAll('.cell')].map(
    e => [e.textContent, getComputedStyle(e).direction]);
"""
#: Elements that the tabulator key reaches, in its order.
FOCUSABLE = "return document.querySelectorAll('a[href], summary, [tabindex=\"0\"]').length"


def luminance(color: str) -> float:
    """Relative luminance of `rgb(27, 33, 41)`, by WCAG."""
    parts = [int(part) / 255 for part in color.strip("rgba()").split(",")[:3]]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(text: str, back: str) -> float:
    """Contrast ratio of two colors, by WCAG."""
    light, dark = sorted((luminance(text), luminance(back)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page about a run of hostile texts."""
    folder = tmp_path_factory.mktemp("hostile-browser")
    texts = hostile_texts()
    made = make_run_of_texts(folder / "work", texts).make_report(folder, title=texts[0])
    return made / "report.html"


def test_a_page_of_hostile_texts_is_whole_and_harmless(hostile: Path, tmp_path: Path) -> None:
    with open_page(hostile) as page:
        assert page.requests() == [hostile.absolute().as_uri()]
        assert page.overflow() == []
        page.open_details()
        assert page.overflow() == []
        page.set_width(390)
        assert page.overflow() == []
        page.save_screenshot(tmp_path / "narrow.png", 3000)
        cells = page.run(DIRECTIONS)
        assert len(cells) > 100
        for text, direction in cells:
            strong = (bidirectional(one) for one in text)
            first = next((one for one in strong if one in ("L", "R", "AL")), "L")
            assert direction == ("ltr" if first == "L" else "rtl"), text[:80]
        for scheme in ("light", "dark"):
            page.set_width(1280, scheme=scheme)
            for text, back in {tuple(pair) for pair in page.run(COLORS)}:
                assert contrast(text, back) >= 4.5, (scheme, text, back)
        page.set_width(1000, media="print")
        assert page.overflow() == []
        assert page.run(FOCUSABLE) > 20
        assert page.run("return document.title").startswith("<script>alert(1)")
        assert page.requests() == []
        assert page.messages() == []
