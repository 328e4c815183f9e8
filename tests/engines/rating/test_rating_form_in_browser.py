"""A rater fills the page of the form in a real browser, closes it, goes on, and downloads."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from page_browser import OpenPage, open_page
from rated_run import make_rated_run, read_made_sample

from hala_hpc.ratings import ratings

pytestmark = pytest.mark.slow

#: Writes a score as a person who types it.
TYPE = """
const [number, value] = arguments;
const field = document.querySelectorAll('input[type=number]')[number];
field.focus(); field.value = value;
field.dispatchEvent(new Event('input')); field.dispatchEvent(new Event('change'));
return field.value;
"""


def run_with(page: OpenPage, script: str, *arguments: Any) -> Any:
    """Run a script with arguments."""
    return page.driver.execute_script(script, *arguments)


def click(page: OpenPage, name: str) -> None:
    """Press a button by its id."""
    page.run(f"document.getElementById('{name}').click()")


def test_a_rater_fills_the_page_closes_it_goes_on_and_downloads(work: Path, tmp_path: Path) -> None:
    make_rated_run(work)
    (work / "ratings").mkdir()
    assert ratings(["export", f"work={work}", "node=scores", "attention=1", "items=3"]) == 0
    form = work / "ratings" / "scores" / "for-raters" / "form.html"
    sample = read_made_sample(work)
    with open_page(form, width=390) as page:
        assert page.run("return document.documentElement.dir") == "rtl"
        box = "return getComputedStyle(document.querySelectorAll('.text')[1]).direction"
        assert page.run(box) == "rtl"
        assert page.run(box.replace("[1]", "[0]")) == "ltr", "the source is English"
        assert page.overflow() == []
        page.run("document.getElementById('download').click()")
        assert "اسمك" in page.run("return document.getElementById('problem').textContent")
        assert run_with(page, TYPE, 0, "80") == "80"
        assert run_with(page, TYPE, 1, "140") == "100", "as far as the scale goes"
        click(page, "next")
        assert run_with(page, TYPE, 0, "7") == "7"
        page.driver.refresh()
        progress = page.run("return document.getElementById('progress').textContent")
        assert {"2", "4"} <= set(progress.replace("؛", " ").split()), progress
        click(page, "previous")
        fields = "return [...document.querySelectorAll('input[type=number]')].map(e => e.value)"
        assert page.run(fields) == ["80", "100"]
        page.set_width(1280)
        assert page.overflow() == []
        page.driver.execute_cdp_cmd(
            "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)}
        )
        page.run(
            "const e = document.getElementById('rater'); e.value = 'مريم';"
            "e.dispatchEvent(new Event('input'));"
        )
        click(page, "download")
        path = wait_for_download(tmp_path)
        assert page.messages() == []
        foreign = [one for one in page.requests() if not one.startswith(("file:", "blob:"))]
        assert foreign == []
    returned = json.loads(path.read_text(encoding="utf-8"))
    assert returned["rater"] == "مريم"
    assert [one["scores"] for one in returned["ratings"]] == [[80, 100], [7, None]]
    assert [one["item"] for one in returned["ratings"]] == [one.id for one in sample.items[:2]]
    assert ratings(["import", f"work={work}", f"data={path}"]) == 0


def wait_for_download(folder: Path) -> Path:
    """The file that the browser saved, once it is whole."""
    for _ in range(600):
        if found := list(folder.glob("ratings-*.json")):
            return found[0]
        time.sleep(0.1)
    raise AssertionError(list(folder.iterdir()))
