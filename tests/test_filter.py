"""filter: the judge's word decides, and every rejected pair keeps its reason."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from corpora import KNOWN, pair, write_corpus
from plain_out import PlainInputs, run_plain
from tiny_models import JUDGE, SENTENCES, WRONG, trained_model

from hala_hpc.core.errors import BAD_DATA, UserError
from hala_hpc.data.corpus import part_name, read_part
from hala_hpc.engines.row_work import Answer, Rejection
from hala_hpc.stages.filter import Filter, JudgeTask, Settings, first_word

ENGINE = {"dtype": "float32", "cpu_cache_gb": 0.1}


@pytest.mark.slow
def test_the_judge_keeps_good_pairs_and_the_rest_have_reasons(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    model = trained_model(tmp_path_factory.getbasetemp())
    good = [pair(source, target) for source, target in SENTENCES.items()]
    bad = [pair(source, WRONG) for source in KNOWN]
    rows = [row for both in zip(good, bad, strict=True) for row in both]
    rows.append(pair("long " * 600, "x"))
    corpus = write_corpus(tmp_path / "c", rows)
    given = {"model": str(model), "corpus": str(corpus), "prompt": JUDGE, "engine": ENGINE}
    out = run_plain("filter", {**given, "units": 2}, tmp_path)
    kept = [row for unit in (0, 1) for row in read_part(out.folder(unit) / part_name(unit))]
    assert kept == good
    lost = [
        json.loads(line)
        for unit in (0, 1)
        for line in (out.folder(unit) / f"rejected-0000{unit}.jsonl").read_text().splitlines()
    ]
    assert [value["row"] for value in lost] == [*bad, rows[-1]]
    assert Counter(value["reason"] for value in lost) == {"rejected_by_judge": 8, "too_long": 1}


def test_the_first_word_of_an_answer_is_the_verdict() -> None:
    task = JudgeTask(Settings(model="@m", corpus="@c", accept=["Yes", "نعم"], reject=["no"]))
    row = pair("a", "b")
    for said in ("yes", " **Yes**, it is", "نعم.", "YES\nbecause"):
        assert task.finish(row, [Answer(said)]) is row
        # A verdict was cut after its first word: it counts all the same.
        assert task.finish(row, [Answer(said, "truncated")]) is row
    assert task.finish(row, [Answer("No way")]) == Rejection("rejected_by_judge", "No way")
    for said in ("", "...", "The answer is yes", "yesterday"):
        assert task.finish(row, [Answer(said)]) == Rejection("unparsable", said)
    assert first_word("«قبول»") == "قبول"


def test_mistakes_are_found_before_a_job_starts(tmp_path: Path) -> None:
    def stage(**given: Any) -> Filter:
        return Filter(Settings(**{"model": "@m", "corpus": "@c", **given}), PlainInputs())

    assert stage().preflight() == []
    assert stage(accept=["Good"], reject=["good"], prompt="{source}").preflight() == [
        "'good' stands in accept and in reject; keep one",
        "prompt='{source}' has no place {target} for the text of a row",
    ]
    talks = [{"id": "1", "origin": "t", "messages": [{"role": "user", "content": "hi"}]}]
    corpus = write_corpus(tmp_path, talks)
    with pytest.raises(UserError, match="corpus of conversations, this stage needs pairs") as no:
        stage(corpus=str(corpus)).run([0], None)  # type: ignore[arg-type]
    assert no.value.code == BAD_DATA
