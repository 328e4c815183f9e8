"""filter: rules first, then the judge's score; every rejected pair has its reason."""

import json
from collections import Counter
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest
from command_line import launch, recipe
from corpora import pair, write_corpus
from plain_out import PlainContext, PlainInputs, run_plain
from standin_engine import StandInEngine
from tiny_models import JUDGE, SENTENCES, WRONG, make_tokenizer, trained_model

from hala_hpc.core.errors import CONFIG, UserError
from hala_hpc.core.records import NodeConfig, UnitMarker
from hala_hpc.core.stage import CollectResult
from hala_hpc.data.corpus.reader import Row, count_rows, read_rows
from hala_hpc.engines.generation.engine import Completion, Request
from hala_hpc.engines.generation.row_program import Answer, Rejection
from hala_hpc.engines.generation.top_rows import BestRows, summarize_scores
from hala_hpc.jobs.closing import sum_unit_markers
from hala_hpc.stages.filter import Filter, JudgeTask, Settings

ENGINE = {"dtype": "float32", "cpu_cache_gb": 0.1}
GOOD = [pair(source, target) for source, target in SENTENCES.items()]
BAD = [pair(row["source"], WRONG) for row in GOOD]
#: Pairs that the rules reject, by the rule.
RULED_OUT = {
    "copied": pair("Nothing here was translated.", "Nothing here was translated."),
    "length_ratio": pair("No.", "هذه ترجمة طويلة جدا لا تقول ما يقوله النص الأصلي القصير أبدا"),
    "duplicate": pair("GOOD  morning!", "«صباح الخير»"),
    "blank": pair(" ", "صباح"),
    "entity": pair("Tom &amp; Ann said &quot;yes&quot;.", "قال توم وآن &quot;نعم&quot;."),
    "broken_letters": pair("The book is on the table.", "الكتاب على الطا\ufffdلة."),
    "control_sequence": pair("The book is on\x1b[0m the table.", "الكتاب على الطاولة."),
    "subtitle_code": pair("The book is on the big table.", "{\\i1}الكتاب على الطاولة.{\\i0}"),
}


def chance(text: str) -> float:
    """A pseudo-random number from 0 to 1 in steps of 0.05, determined by the text."""
    return blake2b(text.encode()).digest()[0] % 21 / 20


class ScoringStandIn(StandInEngine):
    """Stand-in engine that scores by `chance`, without a model."""

    def _answer(self, request: Request) -> Completion:
        score = chance(bytes(request.ids).decode())
        first, second = request.sampling.labels
        verdict = first if score >= 0.5 else second
        return Completion(request.key, verdict, True, len(request.ids), 1, (score, 1 - score))


def sentence(number: int) -> Row:
    names = ["Amal", "Basim", "Dalia", "Farid", "Huda", "Jamal", "Karim", "Layla", "Munir", "Nadia"]
    people = " and ".join(names[int(digit)] for digit in str(number))
    return pair(
        f"{people} went home.",
        f"ذهب إلى البيت {' و'.join('ابتثجحخدذر'[int(d)] for d in str(number))} معا",
    )


def stage_of(**given: Any) -> Filter:
    return Filter(Settings(**{"model": "@m", "corpus": "@c", **given}), PlainInputs())


@pytest.fixture
def judged(tmp_path: Path) -> Any:
    """Return a function that filters 300 pairs with the stand-in; each rule rejects one pair."""
    make_tokenizer(tmp_path / "model")
    rows = [sentence(number) for number in range(300)]
    rows[40:40] = GOOD[1:3]
    for place, row in enumerate(RULED_OUT.values()):
        rows.insert(30 * (place + 1), row)
    corpus = write_corpus(tmp_path / "c", rows)

    def run(name: str, **given: Any) -> tuple[Any, list[UnitMarker], Path]:
        stage = stage_of(
            model=str(tmp_path / "model"),
            corpus=str(corpus),
            units=7,
            engine={"name": f"{__name__}:ScoringStandIn"},
            **given,
        )
        out = PlainContext(tmp_path / name, stage)
        stage.run(range(stage.plan()), out)
        folders = [out.folder(unit) for unit in range(7)]
        checked = [stage.check(unit, folder) for unit, folder in enumerate(folders)]
        markers = [UnitMarker(unit=unit, **facts.as_dict()) for unit, facts in enumerate(checked)]
        output = tmp_path / name / "collected"
        output.mkdir()
        return stage.collect(markers, folders, output), markers, output

    run.rows = rows  # type: ignore[attr-defined]
    return run


def test_rules_reject_without_a_question_and_are_counted_apart(judged: Any) -> None:
    details, markers, output = judged("a", threshold=0)
    accepted, lost = list(read_rows(output)), list(read_rows(output / "rejected"))
    assert {row["reason"]: row["source"] for row in lost} == {
        rule: row["source"] for rule, row in RULED_OUT.items()
    }
    assert [row["score"] for row in lost] == [None] * len(RULED_OUT)
    assert [{name: row[name] for name in judged.rows[0]} for row in accepted] == [
        row for row in judged.rows if row not in RULED_OUT.values()
    ]
    assert {rule: count for rule, count in details["rules"].items() if count} == dict.fromkeys(
        RULED_OUT, 1
    )
    assert details["texts"] == len(accepted) == details["judge_scores"]["rows"]
    assert sum(details["judge_scores"]["histogram"]) == len(accepted)
    assert sum(marker.rows_rejected for marker in markers) == len(RULED_OUT)


def test_a_higher_threshold_keeps_a_part_of_what_a_lower_one_keeps(judged: Any) -> None:
    before: set[str] = set()
    counts = []
    for threshold in (0.9, 0.5, 0.25, 0.0):
        details, _, output = judged(f"t{threshold}", threshold=threshold)
        accepted = list(read_rows(output))
        lost = [row for row in read_rows(output / "rejected") if row["score"] is not None]
        assert all(row["score"] >= threshold for row in accepted)
        assert all(row["score"] < threshold for row in lost)
        assert {row["reason"] for row in lost} <= {"rejected_by_judge"}
        assert all((row["verdict"] == "accept") == (row["score"] >= 0.5) for row in accepted + lost)
        assert before <= {row["id"] for row in accepted}
        before = {row["id"] for row in accepted}
        assert (
            details["judge_scores"]["rows"]
            == len(accepted) + len(lost)
            == len(judged.rows) - len(RULED_OUT)
        )
        counts.append(len(accepted))
    assert counts == sorted(set(counts))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.44, 1.0])
def test_a_target_share_keeps_exactly_that_share_of_the_best(judged: Any, share: float) -> None:
    made, _, output = judged("s", target_share=share)
    assert isinstance(made, CollectResult)
    accepted, lost = list(read_rows(output)), list(read_rows(output / "rejected"))
    scored = len(judged.rows) - len(RULED_OUT)
    assert len(accepted) == round(share * scored)
    below = [row for row in lost if row["reason"] == "rejected_by_judge"]
    assert made.rejected == ({"rejected_by_judge": len(below)} if below else {})
    assert sum(made.details["rejected_content"].values()) == len(lost)
    assert made.details["rejected_faults"] == {}
    if accepted and below:
        assert min(row["score"] for row in accepted) >= max(row["score"] for row in below)
        assert made.details["lowest_score"] == min(row["score"] for row in accepted)
    # Every row is accepted or rejected, in the order of the corpus, with its row number.
    ids = [row["id"] for row in judged.rows]
    assert [ids[row["line"] - 1] for row in lost] == [row["id"] for row in lost]
    assert [row["line"] for row in lost] == sorted(row["line"] for row in lost)
    places = [ids.index(row["id"]) for row in accepted]
    assert places == sorted(places)
    assert sorted(row["id"] for row in accepted + lost) == sorted(ids)
    # The files of the units are unchanged.
    units = sorted((output.parent / "output").glob("*/part-*.parquet"))
    assert sum(count_rows(part.parent) for part in units) == scored


def test_the_summary_counts_what_was_taken_out_at_the_end() -> None:
    config = NodeConfig(node="n", stage="filter", fingerprint="f", units=2)
    marker = UnitMarker(unit=0, rows_in=10, rows_out=8, rows_rejected=2, rejected={"blank": 2})
    found = sum_unit_markers(config, [marker, marker], {"rejected_by_judge": 6, "blank": 1})
    assert (found.rows_in, found.rows_out, found.rows_rejected) == (20, 9, 11)
    assert found.rejected == {"blank": 5, "rejected_by_judge": 6}
    assert sum_unit_markers(config, [marker, marker], {}).rows_out == 16


def test_rows_at_the_edge_are_accepted_in_order_until_the_share_is_met() -> None:
    scores = [0.5, 0.9, 0.5, 0.1, 0.5]
    best = BestRows(scores, 0.6)
    assert [best.keep(score) for score in scores] == [True, True, True, False, False]
    assert [BestRows([], 0.5).count, BestRows(scores, 0).keep(1.0)] == [0, False]
    assert summarize_scores([]) == {"rows": 0}
    assert summarize_scores([0.0, 1.0, 0.51])["histogram"] == [1] + [0] * 9 + [1] + [0] * 8 + [1]


def asked(task: JudgeTask, row: Row, answer: Answer) -> Any:
    """The result of a row whose one question gets this answer."""
    program = task.program(row)
    (ask,) = next(program)
    assert ask.sampling.labels == (task.settings.accept, task.settings.reject)
    with pytest.raises(StopIteration) as end:
        program.send([answer])
    return end.value.value


def test_an_answer_without_a_score_rejects_the_pair_for_its_own_reason(tmp_path: Path) -> None:
    settings = Settings(model="@m", corpus="@c", accept="جيد", reject="سيئ", threshold=0.7)
    task = JudgeTask(settings, write_corpus(tmp_path, GOOD))
    row = GOOD[0]
    assert asked(task, row, Answer("", "too_long")) == Rejection("too_long")
    assert "too_long" not in (task.wanted or ())
    found: dict[str, float | str] = {"score": 0.6, "verdict": "جيد"}
    result = asked(task, row, Answer("جيد", "", (0.6, 0.4)))
    assert result == Rejection("rejected_by_judge", "جيد", found)
    after = asked(task, row, Answer("جيد", "", (0.7, 0.3)))
    assert after == {**row, "score": 0.7, "verdict": "جيد"}
    assert task.fault(row, after) == ""
    assert task.fault(row, {**after, "target": "x"}) == "was changed"
    assert task.fault(row, {**after, "score": 0.69}) == "has the score 0.69"
    assert task.fault(row, {**after, "verdict": "maybe"}) == "has the verdict 'maybe'"


def test_mistakes_are_found_before_a_job_starts(tmp_path: Path) -> None:
    assert stage_of().preflight() == []
    assert stage_of(target_share=0.4).preflight() == []
    assert stage_of(accept="Yes", reject="yes", prompt="{source}").preflight() == [
        "prompt='{source}': no field {target} for the text of a row; add it",
        "accept=Yes: same as reject; give two different answers",
    ]
    assert stage_of(reject=" ", threshold=0.7, target_share=0.4).preflight() == [
        "reject='': empty; give the answer that the prompt asks for",
        "threshold=0.7: target_share=0.4 is set too; set one of the two",
    ]
    talks = [{"id": "1", "origin": "t", "messages": [{"role": "user", "content": "hi"}]}]
    corpus = write_corpus(tmp_path / "c", talks)
    make_tokenizer(tmp_path / "m")
    with pytest.raises(UserError, match="the corpus holds conversations, so ask") as no:
        stage_of(model=str(tmp_path / "m"), corpus=str(corpus)).run([0], None)  # type: ignore[arg-type]
    assert no.value.code == CONFIG
    with pytest.raises(UserError, match="'accept' and 'accepted': they begin with the same") as no:
        stage_of(model=str(tmp_path / "m"), reject="accepted").run([0], None)  # type: ignore[arg-type]
    assert no.value.code == CONFIG


@pytest.mark.long
@pytest.mark.slow
def test_a_trained_judge_keeps_good_pairs(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    model = trained_model(tmp_path_factory.getbasetemp())
    rows = [row for both in zip(GOOD, BAD, strict=True) for row in both]
    rows += [pair("long " * 400, "طويل " * 400), *RULED_OUT.values()]
    corpus = write_corpus(tmp_path / "c", rows)
    given = {"model": str(model), "corpus": str(corpus), "prompt": JUDGE, "engine": ENGINE}
    out = run_plain("filter", {**given, "units": 2}, tmp_path)
    accepted = [row for unit in (0, 1) for row in read_rows(out.folder(unit))]
    assert [row["id"] for row in accepted] == [row["id"] for row in GOOD]
    assert all(row["score"] > 0.9 and row["verdict"] == "accept" for row in accepted)
    lost = [row for unit in (0, 1) for row in read_rows(out.folder(unit) / "rejected")]
    assert Counter(row["reason"] for row in lost) == Counter(
        ["rejected_by_judge"] * 8 + ["too_long", *RULED_OUT]
    )
    assert all(row["score"] < 0.1 for row in lost if row["reason"] == "rejected_by_judge")


@pytest.mark.slow
@pytest.mark.long
def test_a_launched_filter_keeps_its_share_and_its_counts_add_up(
    tmp_path: Path, work: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    model = trained_model(tmp_path_factory.getbasetemp())
    corpus = write_corpus(tmp_path / "c", [*GOOD, *BAD, *RULED_OUT.values()])
    text = (
        f'[judged]\nstage = "filter"\nmodel = "{model}"\ncorpus = "{corpus}"\nunits = 2\n'
        f"target_share = 0.75\nprompt = {json.dumps(JUDGE)}\n"
        '[judged.engine]\ndtype = "float32"\ncpu_cache_gb = 0.1\n'
    )
    ended = launch("stage=all", recipe(tmp_path, text), f"work={work}")
    assert ended.code == 0, ended.err
    found = json.loads((work / "latest/judged/summary.json").read_text())
    assert found["rows_in"] == 16 + len(RULED_OUT)
    assert found["rows_out"] == 12
    assert found["rejected"] == {"rejected_by_judge": 4, **dict.fromkeys(RULED_OUT, 1)}
    assert found["details"]["judge_scores"]["rows"] == 16
    accepted = list(read_rows(work / "latest/judged/output"))
    assert {row["id"] for row in GOOD} <= {row["id"] for row in accepted}
    assert len(accepted) == 12
