"""`ratings` gives people a blind sample, and takes their ratings back."""

import json
from collections import Counter
from pathlib import Path

import pytest
from command_line import run_command
from page_markup import PageMarkup
from rated_run import (
    KNOWN_ALPHA,
    KNOWN_WIN_RATE,
    fill_table,
    make_rated_run,
    read_made_sample,
    write_annotations,
    write_page_file,
)

from hala_hpc.core.errors import UserError
from hala_hpc.engines.rating.agreement import compute_rating_results
from hala_hpc.engines.rating.rating_records import RaterRatings, read_returned
from hala_hpc.engines.rating.read_returned import read_returned_file
from hala_hpc.ratings import ratings
from hala_hpc.status import status


def export(work: Path, *arguments: str, node: str = "node=scores") -> Path:
    """Export a sample; the folder of its forms."""
    assert ratings(["export", f"work={work}", node, *arguments]) == 0
    (folder,) = (work / "ratings").glob("*/for-raters")
    return folder


def test_the_forms_name_no_system_and_each_system_is_first_as_often(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = ("first-system", "second-system", "third-system")
    make_rated_run(work, texts=40, labels=labels)
    forms = export(work, "items=30", "attention=4", "raters=2")
    for path in forms.iterdir():
        assert not any(label in path.read_text(encoding="utf-8") for label in labels), path
    assert "30 items of 40 texts" in capsys.readouterr().out
    sample = read_made_sample(work)
    assert sample.language == "ar"
    places = Counter((n, name) for item in sample.items for n, name in enumerate(item.systems))
    assert set(places.values()) == {10}, places
    attention = [item for item in sample.items if item.is_attention]
    assert len(attention) == 4
    for item in attention:
        assert item.outputs[item.best or 0] == item.source.replace("Source", "جملة")
        assert item.outputs.count(item.outputs[item.best or 0]) == 1
    campaign = json.loads((forms / "pearmut.json").read_text())
    assert [len(task) for task in campaign["data"]] == [34, 34]
    before = {path.name: path.read_bytes() for path in forms.iterdir()}
    export(work, "items=30", "attention=4", "raters=2")
    assert before == {path.name: path.read_bytes() for path in forms.iterdir()}, "seeded"
    export(work, "items=30", "attention=4", "raters=2", "seed=2")
    assert read_made_sample(work).id != sample.id


def test_known_agreement_and_win_rate_of_three_raters_come_back_and_are_on_the_page(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_rated_run(work)
    forms = export(work, "attention=2")
    sample = read_made_sample(work)
    files = [
        fill_table(forms / "form.csv", tmp_path / "form-a.csv", sample, "A"),
        write_page_file(tmp_path / "b.json", sample, "B"),
        write_annotations(forms / "pearmut.json", tmp_path / "c.jsonl", sample, "C"),
    ]
    capsys.readouterr()
    data = f"data={','.join(map(str, files))}"
    assert ratings(["import", f"work={work}", data]) == 0
    out = capsys.readouterr().out
    assert out.index("Agreement") < out.index("Win rates"), "agreement first"
    assert f"{KNOWN_ALPHA}" in out, out
    assert "without a score: 7" in out, "2, 4 and 1 items of the table"
    results = compute_rating_results(sample, read_returned(work / "ratings" / "scores"))
    assert results.agreement.alpha == pytest.approx(KNOWN_ALPHA, abs=5e-4)
    (win,) = results.win_rates
    assert (win.system, win.other, win.items) == ("base", "merged", 5)
    assert win.rate.mean == pytest.approx(KNOWN_WIN_RATE)
    assert [(one.attention, one.failed) for one in results.raters] == [(2, 0)] * 3
    assert status([f"work={work}", "format=html"]) == 0
    html = (work / "page" / "report.html").read_text()
    page = PageMarkup(html)
    titles = [text for text in page.texts if text.endswith("(scores)")]
    assert [t for t in titles if t.startswith(("Agreement", "Win"))] == [
        "Agreement of the raters (scores)",
        "Win rates (scores)",
    ]
    assert f"{KNOWN_WIN_RATE * 100:.1f} [" in html
    figures = work / "page" / "figures"
    assert "base,merged,0.65," in (figures / "rating-wins-scores.csv").read_text()
    # Once more, by a second file of one of them.
    assert ratings(["import", f"work={work}", f"data={files[1]}"]) == 0
    assert "in the place of" in capsys.readouterr().out


def test_win_rates_are_grey_where_raters_do_not_agree_and_careless_raters_do_not_count(
    work: Path, tmp_path: Path
) -> None:
    make_rated_run(work)
    export(work, "attention=2")
    sample = read_made_sample(work)
    returned = []
    for number, rater in enumerate(("one", "two", "careless")):
        path = write_page_file(tmp_path / f"{rater}.json", sample, "A")
        found = RaterRatings.read(path)
        assert found is not None
        # The first two contradict each other; the third gives all outputs the same score.
        scores = [(80.0, 20.0), (20.0, 80.0), (50.0, 50.0)][number]
        changed = tuple(
            one.model_copy(update={"scores": scores})
            if number == 2 or not sample.by_id[one.item].is_attention
            else one
            for one in found.ratings
        )
        returned.append(RaterRatings(sample=sample.id, rater=rater, ratings=changed))
        returned[-1].write(work / "ratings" / "scores" / "returned" / f"{rater}.json")
    results = compute_rating_results(sample, returned)
    assert [one.is_counted for one in results.raters] == [True, True, False]
    assert results.win_rates[0].rate.mean == 0.5
    assert (results.win_rates[0].agreement.alpha or 0) < 0
    assert status([f"work={work}", "format=html"]) == 0
    html = (work / "page" / "report.html").read_text()
    assert html.count("<tr class=soft>") == 3, "the comparison, and both mean scores"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "sample;item;score_1\n", "column score_2 is missing"),
        ("a.csv", "sample,item,score_1,score_2\n#123,#x,1,2\n", "sample '123'; this is sample"),
        ("a.csv", "sample,item,score_1,score_2\n#SAMPLE,#x,1,2\n", "item 'x' is none of sample"),
        ("a.csv", "sample,item,score_1,score_2\n#SAMPLE,#ITEM,good,2\n", "score_1='good'"),
        ("a.csv", "sample,item,score_1,score_2\n#SAMPLE,#ITEM,101,2\n", "score_1=101.0"),
        ("a.csv", "sample,item,score_1,score_2\n#SAMPLE,#ITEM,nan,2\n", "score_1=nan"),
        ("a.json", '{"sample": "z", "rater": "r", "ratings": []}', "sample 'z'"),
        ("a.json", '{"hala_other": []}', "neither the file of the form nor annotations"),
        ("a.json", "{", "not JSON"),
        ("a.jsonl", '{"item": [1], "annotation": [2], "user_id": "u"}', "no entry of Pearmut"),
        ("a.xlsx", "", "write a .csv, .json or .jsonl file"),
    ],
)
def test_what_does_not_belong_is_refused_by_its_name(
    work: Path, tmp_path: Path, name: str, text: str, message: str
) -> None:
    make_rated_run(work)
    export(work)
    sample = read_made_sample(work)
    path = tmp_path / name
    path.write_text(text.replace("SAMPLE", sample.id).replace("ITEM", sample.items[0].id))
    with pytest.raises(UserError) as caught:
        ratings(["import", f"work={work}", f"data={path}"])
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert caught.value.code == 65
    assert not (work / "ratings" / "scores" / "returned").exists()


def test_rows_without_a_score_are_counted_and_a_file_names_its_rater(
    work: Path, tmp_path: Path
) -> None:
    make_rated_run(work)
    form = export(work, "attention=0") / "form.csv"
    lines = form.read_text(encoding="utf-8-sig").splitlines()
    path = tmp_path / "مريم.csv"
    path.write_text("\n".join(lines))
    found = read_returned_file(path, read_made_sample(work))
    assert (found.finish(), found.empty) == ([], 8)


def test_answers_of_a_file_are_rated_and_a_second_sample_does_not_lose_ratings(
    work: Path, tmp_path: Path
) -> None:
    make_rated_run(work)
    data = tmp_path / "answers.jsonl"
    rows = [{"source": f"Q{n}", "outputs": {"x": f"x{n}", "y": f"y{n}"}} for n in range(6)]
    data.write_text("\n".join(map(json.dumps, rows)))
    export(work, "attention=1", node=f"data={data}")
    sample = read_made_sample(work, "answers")
    assert (sample.systems, sample.language, len(sample.items)) == (("x", "y"), "en", 7)
    item = next(one for one in sample.items if not one.is_attention)
    rating = {"item": item.id, "scores": [1, None]}
    path = tmp_path / "r.json"
    path.write_text(json.dumps({"sample": sample.id, "rater": "r", "ratings": [rating]}))
    assert ratings(["import", f"work={work}", f"data={path}"]) == 0
    with pytest.raises(UserError, match="has ratings of another sample"):
        export(work, "seed=3", node=f"data={data}")
    data.write_text('{"source": "Q", "outputs": {"x": "1"}}\n{"outputs": {}}\n')
    with pytest.raises(UserError, match=r"line 2.*source"):
        export(work, "name=other", node=f"data={data}")


def test_mistakes_are_named(work: Path) -> None:
    make_rated_run(work)
    for arguments, message in (
        ((), "write export or import first"),
        (("exprt", "node=scores"), "did you mean 'export'"),
        (("export", f"work={work}"), "write either node= or data="),
        (("export", f"work={work}", "node=scores", "systems=base,x"), "systems=x: unknown"),
        (("export", f"work={work}", "node=scores", "systems=base"), "name 2 to 6"),
        (("export", f"work={work}", "node=scores", "language=fr"), "write one of en, ar"),
        (("export", f"work={work}", "node=scores", "items=0"), "items=0"),
        (("import", f"work={work}", "data=x.csv"), "has the ratings none"),
        (("import", f"work={work}", "name=n", "data=x.csv"), "has no sample"),
        (("import", f"work={work}", "seed=2"), "of export only"),
    ):
        with pytest.raises(UserError) as caught:
            ratings(arguments)
        assert message in str(caught.value), arguments


def test_the_command_ends_with_its_exit_code(work: Path) -> None:
    ended = run_command("export", f"work={work}", "node=scores", module="ratings")
    assert (ended.code, "holds no run" in ended.err) == (66, True), ended
