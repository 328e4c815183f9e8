"""Tables of a report from the items of an evaluation."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from plain_out import PlainContext, PlainInputs

from hala_hpc.core.records import NodeSummary
from hala_hpc.engines.evaluation.item_files import (
    ItemOutcome,
    items_name,
    write_items,
    write_items_of_model,
)
from hala_hpc.engines.evaluation.item_outcomes import find_cluster
from hala_hpc.engines.evaluation.item_tables import (
    EvaluationItems,
    choice_table,
    difference_table,
    item_tables,
)
from hala_hpc.engines.evaluation.lm_eval import sum_metric
from hala_hpc.engines.evaluation.score_files import (
    SCORES_FILE,
    GroupMean,
    MergedScores,
    ModelScores,
    ModelWeights,
    TaskGroup,
    TranslatedSentence,
    score_name,
    write_translations,
)
from hala_hpc.engines.evaluation.score_means import add_sums, mean_error
from hala_hpc.engines.evaluation.statistics.intervals import standard_error
from hala_hpc.stages.report import Report, Settings

#: Items of the tasks: a group of two, and a task alone.
SIZES = {"one": 60, "two": 20, "alone": 400}
EVEN = TaskGroup(tasks=("one", "two"), means=(GroupMean(metric="acc", is_weighted=False),))


def outcomes(task: str, wrong: Iterable[int] = (), prompt: str = "p") -> list[ItemOutcome]:
    """The items of a task; every second answer is right, and none of `wrong`."""
    mistakes = set(wrong)
    return [
        ItemOutcome(
            task,
            item,
            doc_hash=f"{task}{item}",
            prompt_hash=f"{prompt}{item}",
            target_hash="t",
            target="0",
            answer="خبز",
            metric="acc",
            correct=float(item % 2 == 0 and item not in mistakes),
            scores={"acc": float(item % 2 == 0 and item not in mistakes)},
            log_probabilities=[-1.5, -2.5],
        )
        for item in range(SIZES[task])
    ]


def all_tasks(**given: Any) -> list[ItemOutcome]:
    return [one for task in SIZES for one in outcomes(task, **given)]


def write_evaluation(
    folder: Path, models: dict[str, list[ItemOutcome]], choose: str | None = None
) -> EvaluationItems:
    """Write the output of an evaluation of these models, as its gate does."""
    folder.mkdir(exist_ok=True)
    for unit, (label, items) in enumerate(models.items()):
        write_items(folder / "items.parquet", items)
        write_items_of_model(folder / "items.parquet", label, folder / items_name(unit))
        (folder / "items.parquet").unlink()
    scores = {label: {f"{task}/acc": 0.5 for task in SIZES} for label in models}
    MergedScores(
        scores=scores,
        errors={label: {} for label in models},
        samples=dict.fromkeys(models, SIZES),
        signatures={label: {} for label in models},
        entries={"even": ("one", "two"), "alone": ("alone",)},
        groups={"even": EVEN},
        metrics=dict.fromkeys(SIZES, "acc"),
        excluded={"one": {"equal_choices": 2}},
        choose=choose,
    ).write(folder / SCORES_FILE)
    found = EvaluationItems.read("scores", folder)
    assert found is not None
    return found


def test_an_item_file_is_read_by_pandas_as_it_was_written(tmp_path: Path) -> None:
    item = replace(outcomes("two")[0], answer="خبز |\n")
    write_items(tmp_path / "a.parquet", [item, replace(item, item=1, correct=None, excluded="x")])
    write_items_of_model(tmp_path / "a.parquet", "base", tmp_path / "b.parquet")
    import pandas

    table = pandas.read_parquet(tmp_path / "b.parquet")
    assert list(table.columns)[:3] == ["model", "task", "item"]
    first = table.iloc[0]
    assert (first.model, first.answer, first.correct) == ("base", "خبز |\n", 1.0)
    assert list(first.log_probabilities) == [-1.5, -2.5]
    assert dict(first.scores) == {"acc": 1.0}
    assert pandas.isna(table.correct[1])


def test_models_are_compared_by_group_and_in_the_mean_of_all(tmp_path: Path) -> None:
    worse = [one for t in SIZES for one in outcomes(t, wrong=range(40) if t == "alone" else ())]
    found = write_evaluation(tmp_path, {"base": all_tasks(), "same": all_tasks(), "worse": worse})
    table = difference_table(found)
    rows = {(row[0], row[1]): row for row in table.rows}
    assert list(rows) == [(m, t) for m in ("same", "worse") for t in ("even", "alone", "mean")]
    for task in ("even", "alone", "mean"):
        assert rows["same", task][-1] == "not resolvable"
    assert rows["worse", "even"][2].startswith("+0.0000")
    # 20 of 400 answers are lost, half of that in the mean of a group and a task.
    assert rows["worse", "alone"][2].startswith("−0.0500 [")
    assert rows["worse", "mean"][2].startswith("−0.0250 [")
    assert rows["worse", "alone"][-1] == "lower"
    assert float(rows["worse", "alone"][4]) < 0.05, "more than the smallest visible difference"
    assert "Holm" in table.note


def test_items_of_one_passage_are_a_cluster_in_tables_and_errors(tmp_path: Path) -> None:
    plain = all_tasks()
    shared = [replace(one, cluster=f"passage {one.item // 10}") for one in plain]
    found = write_evaluation(tmp_path, {"base": plain, "tuned": shared})
    (alone,) = found.rows_of("tuned")["alone"]
    assert alone.clusters is not None
    assert len(set(alone.clusters)) == 40
    assert found.rows_of("base")["alone"][0].clusters is None
    sums = [sum_metric([one for one in shared if one.task == "alone"], "acc")]
    joined = add_sums(sum_metric(shared[80:300], "acc"), sum_metric(shared[300:480], "acc"))
    assert joined == sums[0], "a cluster may be in two shards"
    assert mean_error(joined) == pytest.approx(standard_error(alone))
    flat = mean_error(sum_metric([one for one in plain if one.task == "alone"], "acc"))
    assert mean_error(joined) != pytest.approx(flat)


def test_an_item_has_the_cluster_of_its_passage_or_of_what_its_task_names() -> None:
    plain, named = (
        SimpleNamespace(config=SimpleNamespace(metadata=one))
        for one in (None, {"cluster": "subject"})
    )
    doc = {"passage": "نص", "subject": "law"}
    assert find_cluster(plain, doc) == find_cluster(plain, {"passage": "نص"}) != ""
    assert find_cluster(named, doc) == find_cluster(named, {"subject": "law"})
    assert find_cluster(named, doc) != find_cluster(plain, doc)
    assert find_cluster(plain, {"question": "?", "context": " "}) == ""


def test_the_mean_of_all_counts_a_group_as_much_as_a_task(tmp_path: Path) -> None:
    worse = [one for t in SIZES for one in outcomes(t, wrong=range(20) if t == "two" else ())]
    found = write_evaluation(tmp_path, {"base": all_tasks(), "worse": worse})
    rows = {row[1]: row[2] for row in difference_table(found).rows}
    assert rows["even"].startswith("−0.2500"), "half of the loss of one of its two tasks"
    assert rows["mean"].startswith("−0.1250")


def test_models_that_saw_other_prompts_are_not_compared(tmp_path: Path) -> None:
    models = {"base": all_tasks(), "chat": all_tasks(prompt="q"), "same": all_tasks()}
    table = difference_table(write_evaluation(tmp_path, models))
    assert ["chat", "–", "–", "–", "–", "not comparable"] in table.rows
    assert "chat is not compared: one: 60 of 60 items have other documents, prompts" in table.note
    assert {row[0] for row in table.rows} == {"chat", "same"}


def test_a_sweep_is_chosen_on_one_half_and_drawn_whole(tmp_path: Path) -> None:
    def arm(lost: int) -> list[ItemOutcome]:
        return [one for t in SIZES for one in outcomes(t, wrong=range(lost))]

    models = {"base": arm(30), "m-t0": arm(30), "m-t0.5": arm(5), "m-t1": arm(20)}
    write_evaluation(tmp_path, models, choose="m-*")
    html, markdown = report(tmp_path)
    chosen = [line for line in markdown.splitlines() if line.startswith("| m-t0.5 (chosen)")]
    assert len(chosen) == 1
    assert chosen[0].endswith("– | – | – | chosen |")
    assert "| m-t1 |" in markdown
    assert "m-t0.5 (chosen)" in html
    assert "| one | equal_choices | 2 |" in markdown


def test_the_page_names_the_resolvable_values_of_a_sweep_or_that_there_are_none(
    tmp_path: Path,
) -> None:
    def arm(lost: int) -> list[ItemOutcome]:
        return [one for t in SIZES for one in outcomes(t, wrong=range(lost))]

    equal = write_evaluation(tmp_path / "a", {"m-t0": arm(9), "m-t1": arm(9)}, choose="m-*")
    table = choice_table(equal)
    assert table.note.startswith("On the other half no model is resolvable from m-t0: ")
    assert [row[-1] for row in table.rows] == ["chosen", "not resolvable"]
    models = {"m-t0": arm(400), "m-t0.5": arm(0), "m-t1": arm(1)}
    table = choice_table(write_evaluation(tmp_path / "b", models, choose="m-*"))
    assert table.note.startswith(
        "On the other half, lower than m-t0.5: m-t0; not resolvable from it: m-t1. "
    )
    assert [row[-1] for row in table.rows] == ["lower", "chosen", "not resolvable"]


def test_without_a_choice_there_is_no_table_of_it(tmp_path: Path) -> None:
    found = write_evaluation(tmp_path, {"base": all_tasks(), "m-t0": all_tasks()})
    assert [bool(table.rows) for table in item_tables(found)] == [True, False, True]
    html, _ = report(tmp_path)
    assert "(chosen)" not in html


def report(folder: Path) -> tuple[str, str]:
    """HTML and Markdown of a report about the evaluation in a folder."""
    values: dict[str, Any] = {"rows_in": 1, "rows_out": 1, "rows_rejected": 0, "units": 1}
    scores = MergedScores.read(folder / SCORES_FILE)
    details = scores.to_values() if scores else {}
    summary = NodeSummary(node="scores", stage="evaluate", details=details, **values)
    inputs = PlainInputs(paths={"@scores": str(folder)}, summaries={"@scores": summary})
    stage = Report(Settings(nodes=["@scores"]), inputs)
    out = PlainContext(folder / "report", stage)
    stage.run([0], out)
    made = out.folder(0)
    return (made / "report.html").read_text(), (made / "report.md").read_text()


def test_translations_are_compared_sentence_by_sentence(tmp_path: Path) -> None:
    references = [f"الولد رقم {number} يأكل الخبز في البيت" for number in range(60)]
    systems = {
        "base": [text.replace("الخبز", "الحجر") for text in references],
        "good": references,
        "same": [text.replace("الخبز", "الحجر") for text in references],
    }
    for unit, (label, texts) in enumerate(systems.items()):
        rows = [
            TranslatedSentence(str(n), "x", references[n], text) for n, text in enumerate(texts)
        ]
        write_translations(tmp_path, unit, rows)
        weights = ModelWeights(number_format="fp8" if unit else "bfloat16", gb=2.5 - unit)
        scores = ModelScores(
            label=label, scores={"bleu": 1.0}, tokens_per_s=1000.0 + unit, weights=weights
        )
        scores.write(tmp_path / score_name(unit))
    _, markdown = report(tmp_path)
    assert "| base | bfloat16 | 2.5" in markdown, "what a system costs stands beside its quality"
    assert "| good | fp8 | 1.5" in markdown
    assert "| 1,001 | 100" in markdown
    lines = [
        line
        for line in markdown.splitlines()
        if line.startswith(("| good |", "| same |")) and "fp8" not in line
    ]
    verdicts = {(line.split(" | ")[0], line.rsplit("| ", 1)[1]) for line in lines}
    assert verdicts == {("| good", "higher |"), ("| same", "not resolvable |")}
    assert "tok:intl" in markdown
