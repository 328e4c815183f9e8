"""`status format=html` writes the page of a run that is not finished."""

import sys
from pathlib import Path

import pytest
from command_line import run_command
from made_run import MadeRun
from page_markup import PageMarkup

from hala_hpc.core.errors import CONFIG, UserError
from hala_hpc.engines.evaluation.score_files import (
    ModelScores,
    TranslatedSentence,
    score_name,
    write_translations,
)
from hala_hpc.status import status


def make_unfinished_run(work: Path) -> None:
    """A run with one result, and a step without one."""
    run = MadeRun(work)
    run.add("english", "prepare", rows_in=10, rows_out=10)
    run.add_unfinished("arabic", "translate", inputs=("english",))
    run.add_unfinished("report", "report", {"title": "My language"})
    run.finish()


def test_the_page_of_an_unfinished_run_lists_what_is_missing(work: Path) -> None:
    make_unfinished_run(work)
    ended = run_command(f"work={work}", "format=html", module="status")
    assert (ended.code, ended.out) == (0, f"page: {work}/page/report.html\n"), ended
    page = PageMarkup((work / "page" / "report.html").read_text())
    assert page.faults == []
    assert "My language" in page.texts
    assert "arabic (translate): new, 0 of 1 units" in page.texts
    assert (work / "page" / "figures" / "pipeline.svg").is_file()


def test_the_page_compares_the_systems_of_an_evaluation_as_the_report_does(work: Path) -> None:
    run = MadeRun(work)
    output = run.add("scores", "evaluate", {"scores": {"base": {}, "tuned": {}}}).output
    for unit, (label, text) in enumerate({"base": "a stone", "tuned": "a house"}.items()):
        rows = [TranslatedSentence(str(n), "بيت", "a house", text) for n in range(20)]
        write_translations(output, unit, rows)
        ModelScores(label=label, scores={"bleu": 1.0}).write(output / score_name(unit))
    run.finish()
    ended = run_command(f"work={work}", "format=html", module="status")
    assert ended.code == 0, ended
    page = PageMarkup((work / "page" / "report.html").read_text())
    assert "Translations compared with base (scores)" in page.texts


def test_an_environment_without_the_libraries_names_the_one_with_them(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_unfinished_run(work)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UserError) as caught:
        status([f"work={work}", "format=html"])
    assert caught.value.code == CONFIG
    line = f"-m hala_hpc.status work={work} format=html"
    assert f"no matplotlib; run it in the environment main: .venv/bin/python {line}" in str(
        caught.value
    )
