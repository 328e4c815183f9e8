"""evaluate: models side by side, with signatures of their scores."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from corpora import pair, write_corpus
from plain_out import PlainContext, PlainInputs
from tiny_models import SENTENCES, trained_model, untrained_model

from benchmarks.kills.node import STAND_IN_ENGINE, empty_model
from hala_hpc.core.errors import INTERNAL, UserError
from hala_hpc.core.files import read_json
from hala_hpc.core.records import UnitMarker
from hala_hpc.engines.evaluation.metrics import (
    METRICS,
    WordTokenizer,
    rouge_l,
    score_structure,
    score_translations,
)
from hala_hpc.engines.evaluation.score_files import ModelScores, ScoreSum, read_scores, score_name
from hala_hpc.engines.evaluation.statistics.intervals import wilson_bounds
from hala_hpc.stages.evaluate import Evaluate, Settings

TASK = """task: tiny_arabic
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
output_type: multiple_choice
test_split: test
doc_to_text: "{{{{question}}}}\\n"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{answer}}}}"
metric_list: [{{metric: acc}}]
metadata: {{version: 2}}
"""


def write_task(folder: Path) -> Path:
    folder.mkdir()
    data = folder / "questions.jsonl"
    lines = [{"question": f"{i}?", "choices": ["أ", "ب"], "answer": i % 2} for i in range(10)]
    data.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "tiny.yaml").write_text(TASK.format(data=data))
    return folder


def evaluate(**given: Any) -> Evaluate:
    return Evaluate(Settings(**given), PlainInputs())


@pytest.mark.long
@pytest.mark.slow
def test_two_models_are_scored_side_by_side(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    base = tmp_path_factory.getbasetemp()
    pairs = [pair(source, target) for source, target in SENTENCES.items()]
    stage = evaluate(
        models={"base": str(untrained_model(base)), "tuned": str(trained_model(base))},
        tasks=["tiny_arabic"],
        include_path=str(write_task(tmp_path / "tasks")),
        translation=str(write_corpus(tmp_path / "held-out", pairs)),
        engine={"dtype": "float32", "cpu_cache_gb": 0.1},
    )
    out = PlainContext(tmp_path, stage)
    stage.run(range(stage.plan()), out)
    assert out.counts["rows"] == out.counts["rows_of_worker"] == 36, "items and sentences"
    facts = [stage.check(unit, out.folder(unit)) for unit in range(4)]
    assert [fact.rows_in for fact in facts] == [10, 10, 8, 8]
    markers = [UnitMarker(unit=unit, **fact.as_dict()) for unit, fact in enumerate(facts)]
    merged = stage.collect(markers, [out.folder(unit) for unit in range(4)], tmp_path / "output")
    assert merged == read_json(tmp_path / "output" / "scores.json")
    scores = merged["scores"]
    assert list(scores) == ["base", "tuned"]
    assert scores["tuned"]["bleu"] == pytest.approx(100)
    assert scores["tuned"]["chrf++"] == pytest.approx(100)
    assert scores["tuned"]["rouge_l"] == pytest.approx(100)
    assert scores["base"]["bleu"] < 20
    accuracy = scores["base"]["tiny_arabic/acc"]
    assert 0 <= accuracy <= 1
    low, high = merged["intervals"]["base"]["tiny_arabic/acc"]
    assert [low, high] == pytest.approx(wilson_bounds(accuracy, 10))
    assert merged["samples"]["base"] == {"tiny_arabic": 10, **dict.fromkeys(METRICS, 8)}
    assert "nw:2" in merged["signatures"]["base"]["chrf++"]
    assert "task:2" in merged["signatures"]["base"]["tiny_arabic"]
    assert "|choices:" in merged["signatures"]["base"]["tiny_arabic"]
    lines = (out.folder(3) / "translations-00003.jsonl").read_text().splitlines()
    assert [json.loads(line)["hypothesis"] for line in lines] == list(SENTENCES.values())


@pytest.mark.slow
def test_progress_counts_the_rows_of_all_models_if_they_only_translate(tmp_path: Path) -> None:
    pairs = [pair(source, target) for source, target in SENTENCES.items()]
    model = empty_model(tmp_path / "model")
    stage = evaluate(
        models={"one": str(model), "two": str(model)},
        translation=str(write_corpus(tmp_path / "held-out", pairs)),
        engine={"name": STAND_IN_ENGINE},
    )
    out = PlainContext(tmp_path, stage)
    stage.run(range(stage.plan()), out)
    assert out.counts["rows"] == out.counts["rows_of_worker"] == 2 * len(pairs)


def test_scores_are_those_of_sacrebleu_and_see_arabic_letters() -> None:
    hypotheses = ["الولد يأكل الخبز الآن", "صباح النور"]
    references = ["الولد يأكل الخبز اليوم", "صباح الخير"]
    scores = score_translations(hypotheses, references)
    assert scores.signatures["bleu"].startswith("nrefs:1|case:mixed|eff:no|tok:13a")
    assert 0 < scores.values["bleu"] < 100
    assert scores.values["rouge_l"] == pytest.approx(100 * (3 / 4 + 1 / 2) / 2)
    # Punctuation is no word, and diacritics stay with their letters.
    assert rouge_l(["كَتَبَ، زيد."], ["كَتَبَ زيد"], WordTokenizer()) == pytest.approx(100)
    assert rouge_l(["كتب"], ["كَتَبَ"], WordTokenizer()) == 0


def test_scores_that_cannot_see_arabic_have_names_and_signatures_of_their_own() -> None:
    same = ["الولد يأكل الخبز، اليوم"]
    scores = score_translations(same, same)
    assert scores.values["rouge_l"] == pytest.approx(100)
    assert scores.values["rouge_l_ascii"] == 0
    assert "tok:ascii" in scores.signatures["rouge_l_ascii"]
    assert scores.values["ter"] == 0
    # A space before the Arabic comma changes no word: only one of the tokenizers sees that.
    spaced = score_translations(["الولد يأكل الخبز ، اليوم"], same)
    assert spaced.values["bleu_intl"] == pytest.approx(100)
    assert spaced.values["bleu"] < 50
    assert "tok:intl" in spaced.signatures["bleu_intl"]


def test_structure_is_the_share_of_translations_with_numbers_and_placeholders() -> None:
    sources = ["Pay {amount} in 30 days.", "See 12 files.", "Hello.", "Use `ls -l`."]
    answers = ["ادفع {amount} خلال 30 يوما.", "انظر 13 ملفا.", "مرحبا.", "استخدم `ls -l`."]
    found = score_structure(sources, answers, ("en", "ar"))
    assert found.values == {"structure": 75.0}
    assert "languages:en-ar" in found.signatures["structure"]


def test_scores_that_are_missing_or_not_finite_are_not_good(tmp_path: Path) -> None:
    sums = {"c/acc": ScoreSum(items=2, total=math.inf, squares=1)}
    bad = ModelScores(label="base", scores={"a/f1": math.nan}, sums=sums, samples={"a": 1, "d": 1})
    bad.write(tmp_path / score_name(0))
    with pytest.raises(UserError) as caught:
        read_scores(tmp_path, 0)
    assert caught.value.code == INTERNAL
    for fault in ("of base", "a/f1 is nan", "c/acc is inf", "d has no scores"):
        assert fault in str(caught.value)
    good = ModelScores(label="base", scores={"bleu": 0.5}, samples={"bleu": 1})
    good.write(tmp_path / score_name(0))
    assert read_scores(tmp_path, 0) == good


def test_mistakes_are_found_before_a_job_starts(tmp_path: Path) -> None:
    assert evaluate(models={"m": "@m"}).preflight() == [
        "tasks=[]: nothing to evaluate; set tasks, translation or both"
    ]
    assert evaluate(models={"m": "@m"}, tasks=["t"]).preflight() == []
    for given, fault in (
        ({"models": {"tuned": str(tmp_path)}}, f"models.tuned={tmp_path}: .*no weights"),
        ({"include_path": str(tmp_path / "x")}, "no such folder"),
        ({"translation": str(tmp_path)}, "is not a corpus"),
    ):
        with pytest.raises(UserError, match=fault):
            evaluate(**{"models": {"m": "@m"}, "tasks": ["t"], **given}).preflight()


def test_gpus_that_no_worker_would_use_are_refused(tmp_path: Path) -> None:
    model = str(empty_model(tmp_path / "model"))
    for given, used, number in ((4, 1, 1), (2, 2, 0), (0, 1, 0)):
        found = evaluate(
            models={"one": model},
            tasks=["arabic"],
            resources={"gpus_per_node": given},
            engine={"tensor_parallel_size": used},
        ).preflight()
        assert sum(line.startswith("resources.gpus_per_node=4: ") for line in found) == number


def test_a_choice_needs_two_models_and_tasks() -> None:
    models = {"base": "@b", "merged-t0": "@m0", "merged-t1": "@m1"}
    assert evaluate(models=models, tasks=["t"], choose="merged-*").preflight() == []
    (fault,) = evaluate(models=models, tasks=["t"], choose="merged-t1*").preflight()
    assert fault.startswith("choose=merged-t1*: 1 of the models base, merged-t0, merged-t1")
    faults = evaluate(models=models, choose="merged-*").preflight()
    assert faults[-1].startswith("tasks=[]")


def test_a_model_without_a_chat_template_is_found_before_a_job_starts(tmp_path: Path) -> None:
    model = empty_model(tmp_path / "model")
    given: dict[str, Any] = {"models": {"m": str(model)}, "tasks": ["t"]}
    (fault,) = evaluate(**given, chat_template=True).preflight()
    assert fault.startswith(f"models.m={model}: chat_template=true, but its tokenizer has no")
    assert evaluate(**given).preflight() == []
    (model / "chat_template.jinja").write_text("{{ messages }}")
    assert evaluate(**given, chat_template=True).preflight() == []


def test_each_worker_of_as_many_as_models_gets_one_model() -> None:
    models = {"a": "@a", "b": "@b", "c": "@c"}
    parts = evaluate(models=models, tasks=["t", "u", "t"], shards=2, translation="@x").parts()
    assert len(parts) == 3 * (2 * 2 + 1), "a task that is named twice is one"
    assert {part.label for part in parts[1::3]} == {"b"}
    assert len({(p.kind, p.entry, p.shard, p.label) for p in parts}) == len(parts)
