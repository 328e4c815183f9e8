"""The page about a run: what it holds, in which order, and the files beside it."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from checkout import ROOT
from made_run import (
    MadeRun,
    write_pairs,
    write_rejected_lines,
    write_translation_scores,
)
from page_markup import PageMarkup, read_page

from hala_hpc.engines.evaluation.score_files import TranslatedSentence

#: Models in the evaluation of the run; `a` and `b` overlap in the second task.
DETAILS: dict[str, Any] = {
    "scores": {
        "base": {"arabicmmlu/acc": 0.25, "exams/acc": 0.40},
        "merged": {"arabicmmlu/acc": 0.50, "exams/acc": 0.42},
    },
    "errors": {
        "base": {"arabicmmlu/acc": 0.01, "exams/acc": 0.03},
        "merged": {"arabicmmlu/acc": 0.01, "exams/acc": 0.03},
    },
    "intervals": {
        "base": {"arabicmmlu/acc": [0.23, 0.27], "exams/acc": [0.34, 0.46]},
        "merged": {"arabicmmlu/acc": [0.48, 0.52], "exams/acc": [0.36, 0.48]},
    },
    "samples": {"base": {"arabicmmlu": 14000, "exams": 537}},
    "signatures": {"base": {"arabicmmlu": "task:1|shots:0"}},
}
JUDGE = {"rows": 10, "mean": 0.6, "histogram": [1, 0, 2, 0, 1, 3, 0, 1, 1, 1]}
SOURCES = [f"Sentence {n} is here." for n in range(12)]
REFERENCES = [f"الجملة {n} هنا." for n in range(12)]


def add_evaluations(run: MadeRun) -> None:
    """Add an evaluation of translations, and one of benchmarks."""
    scores = {"base": {"bleu": 1.5}, "translator": {"bleu": 61.25}}
    held_out = run.add("held-out-scores", "evaluate", {"scores": scores}, units=2)
    good = [
        TranslatedSentence(str(n), *pair, hypothesis=pair[1] if n else "خطأ")
        for n, pair in enumerate(zip(SOURCES, REFERENCES, strict=True))
    ]
    bad = [TranslatedSentence(one.id, one.source, one.reference, "x") for one in good]
    write_translation_scores(
        held_out.output, ["base", "translator"], {"base": bad, "translator": good}
    )
    settings = {"tasks": ["arabicmmlu", "exams"], "models": {"base": "@b", "merged": "@merge"}}
    run.add("scores", "evaluate", DETAILS, settings, inputs=("merge",))


def make_whole_run(work: Path) -> MadeRun:
    """A run with all that a page can show."""
    run = MadeRun(work)
    english = run.add(
        "english",
        "prepare",
        rows_in=100,
        rows_out=90,
        rows_rejected=10,
        rejected={"duplicate": 7, "language": 3},
    )
    write_rejected_lines(english.output, [("duplicate", "twice"), ("language", "zweimal")])
    judged = run.add(
        "judged",
        "filter",
        {"judge_scores": JUDGE},
        {"threshold": 0.5},
        ("english",),
        rows_in=10,
        rows_out=7,
        rows_rejected=3,
        rejected={"rejected_by_judge": 3},
    )
    write_pairs(
        judged.output / "rejected" / "part-00000.parquet",
        [("One.", "اثنان.")],
        reason="rejected_by_judge",
        said="reject",
    )
    curve = [
        {"step": s, "loss": 8 / s, "learning_rate": 1e-3, "tokens_per_s": 900.0} for s in (1, 9)
    ]
    held_out = [{"step": 9, "loss": 1.25}]
    sft = run.add(
        "sft",
        "sft",
        {"curve": curve, "held_out_curve": held_out},
        {},
        ("judged",),
        tokens_in=7200,
        seconds=3600.0,
    )
    run.use_gpus(sft, hours=4.5)
    run.add("merge", "merge", {"method": "slerp", "parameters": {"t": "0.5"}}, {}, ("sft",))
    add_evaluations(run)
    run.finish()
    return run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a whole run, with published figures and a price."""
    folder = tmp_path_factory.mktemp("whole")
    run = make_whole_run(folder / "work")
    published = {"Hala": {"arabicmmlu": 55.5}}
    return run.make_report(folder, published=published, gpu_hour_price=2.0, currency="EUR")


@pytest.fixture(scope="module")
def page(made: Path) -> PageMarkup:
    """Its markup."""
    return read_page(made)


def rows_of(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def test_sections_stand_in_the_order_in_which_people_ask(page: PageMarkup) -> None:
    sections = [one for one in page.ids if not one.startswith("d")]
    assert sections == [
        "content",
        "scores",
        "pipeline",
        "rows",
        "texts",
        "training",
        "judge",
        "time",
        "limits",
        "versions",
        "again",
    ]
    assert page.faults == []
    assert list(page.addresses()) == []


def test_the_head_has_the_scores_of_the_last_model(page: PageMarkup) -> None:
    text = " ".join("".join(page.texts).split())
    assert "6 of 6 steps of this run are complete." in text
    assert "merged has 46.0 [42.9, 49.1] and base has 32.5 [29.4, 35.6]" in text
    assert "That is 13.5 higher, more than chance explains" in text
    assert "translator has 61.2 and base has 1.5" in text


def test_only_a_resolvable_best_score_is_marked(made: Path) -> None:
    html = (made / "report.html").read_text()
    assert 'class=" best"><bdi>50.0 [48.0, 52.0]</bdi>' in html
    assert 'best"><bdi>42.0 [36.0, 48.0]' not in html, "its interval overlaps"
    assert 'best"><bdi>61.2' not in html, "it has no interval"


def test_published_figures_are_marked_as_such(made: Path, page: PageMarkup) -> None:
    assert "Hala (published)" in page.texts
    assert 'class=" published"><bdi>55.5</bdi>' in (made / "report.html").read_text()


def test_every_row_of_the_data_is_accounted_for(made: Path) -> None:
    english = rows_of(made / "figures" / "funnel.csv")[0]
    assert english["step"] == "english"
    counts = [int(english[name]) for name in ("rows in", "duplicates", "rejected", "accepted")]
    assert counts == [100, 7, 3, 90]


def test_translations_stand_side_by_side_with_the_worst_first(made: Path) -> None:
    random_rows = rows_of(made / "figures" / "examples-random-held-out-scores.csv")
    assert list(random_rows[0]) == ["source", "reference", "base", "translator"]
    assert len(random_rows) == 8
    worst = rows_of(made / "figures" / "examples-worst-held-out-scores.csv")
    assert (worst[0]["source"], worst[0]["translator"]) == (SOURCES[0], "خطأ")


def test_rejected_rows_are_shown_with_their_reason(made: Path, page: PageMarkup) -> None:
    rows = rows_of(made / "figures" / "examples-rejected-judged.csv")
    assert rows == [
        {"reason": "rejected_by_judge", "row": "One.\nاثنان.", "answer of the model": "reject"}
    ]
    assert "zweimal" in page.texts


def test_a_cell_takes_the_direction_of_its_own_text(made: Path) -> None:
    # A browser does not look into <bdi> for dir=auto: the text stands in the cell itself.
    html = (made / "report.html").read_text()
    assert f'<div class="cell" dir="auto">{REFERENCES[0]}</div>' in html
    assert 'dir="auto"><bdi>' not in html


def test_gpu_hours_and_their_cost_come_from_the_records_of_jobs(made: Path) -> None:
    (hours,) = [row for row in rows_of(made / "figures" / "hours.csv") if row["node"] == "sft"]
    assert (hours["gpu_hours_used"], hours["gpu_hours_estimate"]) == ("9.0", "3.0")
    assert "18.00 EUR" in (made / "report.html").read_text()


def test_curves_and_histograms_are_drawn_and_written_as_numbers(made: Path) -> None:
    assert "held-out rows" in (made / "figures" / "training-sft.svg").read_text()
    assert rows_of(made / "figures" / "training-sft.csv")[1]["held_out_loss"] == "1.25"
    assert "cut 0.5" in (made / "figures" / "judge-scores-judged.svg").read_text()
    assert sum(int(r["pairs"]) for r in rows_of(made / "figures" / "judge-scores-judged.csv")) == 10


def test_the_line_that_makes_the_run_again_is_at_the_end(page: PageMarkup) -> None:
    line = "python -m hala_hpc.launch stage=all recipe=mine.toml"
    assert line in page.texts


def test_the_same_run_gives_the_same_page(made: Path, tmp_path: Path) -> None:
    again = make_whole_run(tmp_path / "work").make_report(
        tmp_path, published={"Hala": {"arabicmmlu": 55.5}}, gpu_hour_price=2.0, currency="EUR"
    )
    for path in sorted(made.rglob("*")):
        if path.is_file():
            assert path.read_bytes() == (again / path.relative_to(made)).read_bytes(), path


@pytest.mark.parametrize("prefix", ["", "my_"])
def test_a_sweep_is_drawn_over_its_values_with_its_parents(tmp_path: Path, prefix: str) -> None:
    run = MadeRun(tmp_path / "work")
    run.add("tiny", "sft")
    values = (0.25, 0.5, 0.75)
    for t in values:
        # As a launch of the sweep records it: each knows of the others.
        beside = [{"t": other, "base": "@tiny"} for other in values if other != t]
        settings = {"t": t, "base": "@tiny", "beside": beside}
        run.add(f"merge-t{t}", "merge", settings=settings, inputs=("tiny",))
    models = {"base": "@tiny"} | {f"t{t}": f"@merge-t{t}" for t in values}
    scores = {
        label: {f"{prefix}arabic/acc": 0.3 + n / 10, f"{prefix}english/acc": 0.6 - n / 10}
        for n, label in enumerate(models)
    }
    run.add(
        "scores",
        "evaluate",
        {"scores": scores},
        {"models": models, "tasks": [f"{prefix}arabic", f"{prefix}english"]},
        inputs=("tiny", *(f"merge-t{t}" for t in values)),
    )
    made = run.make_report(tmp_path)
    rows = rows_of(made / "figures" / "sweep-merge-t.csv")
    arabic = [(row["t"], row["value"][:4]) for row in rows if row["score"] == f"{prefix}arabic/acc"]
    assert arabic == [("0.25", "40.0"), ("0.5", "50.0"), ("0.75", "60.0"), ("", "30.0")]
    assert (made / "figures" / "tradeoff-merge-t.svg").is_file()
    assert json.dumps("sweeps") in (made / "report.html").read_text()


def test_damaged_rows_are_a_warning_and_not_the_end_of_the_page(tmp_path: Path) -> None:
    run = MadeRun(tmp_path / "work")
    counts: dict[str, Any] = {
        "rows_in": 2,
        "rows_out": 1,
        "rows_rejected": 1,
        "rejected": {"language": 1},
    }
    english = run.add("english", "prepare", **counts)
    (english.output / "rejected-00000.jsonl").write_text('{"reason": "lang')
    arabic = run.add("arabic", "translate", **counts)
    (arabic.output / "part-00000.parquet").write_bytes(b"PAR1")
    texts = read_page(run.make_report(tmp_path)).texts
    line = "its rows cannot be read; run `python -m hala_hpc.verify`"
    assert [text for text in texts if line in text] == [f"english: {line}", f"arabic: {line}"]


def test_no_page_hides_the_text_of_a_cell_from_its_direction() -> None:
    # `dir=auto` does not look into <bdi>: what stands in both begins at the left.
    templates = sorted((ROOT / "hala_hpc").rglob("*.html.j2"))
    assert len(templates) == 3
    for path in templates:
        assert 'dir="auto"><bdi>' not in path.read_text(encoding="utf-8"), path
