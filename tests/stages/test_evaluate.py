"""evaluate: models side by side, with signatures of their scores."""

import json
import math
import os
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
from hala_hpc.engines.evaluation.metrics import rouge_l, score_translations
from hala_hpc.engines.evaluation.score_files import ModelScores, read_scores, score_name
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
    assert "rows_of_node" not in out.counts, "benchmarks do not count as rows"
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
    assert merged["samples"]["base"] == {"tiny_arabic": 10, "bleu": 8, "chrf++": 8, "rouge_l": 8}
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
    assert out.counts["rows"] == out.counts["rows_of_node"] == 2 * len(pairs)


def test_scores_are_those_of_sacrebleu_and_see_arabic_letters() -> None:
    hypotheses = ["الولد يأكل الخبز الآن", "صباح النور"]
    references = ["الولد يأكل الخبز اليوم", "صباح الخير"]
    scores = score_translations(hypotheses, references)
    assert scores.signatures["bleu"].startswith("nrefs:1|case:mixed|eff:no|tok:13a")
    assert 0 < scores.values["bleu"] < 100
    assert scores.values["rouge_l"] == pytest.approx(100 * (3 / 4 + 1 / 2) / 2)
    # Punctuation is no word, and diacritics stay with their letters.
    assert rouge_l(["كَتَبَ، زيد."], ["كَتَبَ زيد"]) == pytest.approx(100)
    assert rouge_l(["كتب"], ["كَتَبَ"]) == 0


def test_scores_that_are_missing_or_not_finite_are_not_good(tmp_path: Path) -> None:
    groups = {"g": ["a"]}
    bad = ModelScores(label="base", scores={"a/acc": math.nan}, samples={"a": 0}, groups=groups)
    bad.write(tmp_path / score_name(0))
    with pytest.raises(UserError) as caught:
        read_scores(tmp_path, 0, ["g", "b"])
    assert caught.value.code == INTERNAL
    for fault in ("of base", "a/acc is nan", "b has no scores", "a has no samples"):
        assert fault in str(caught.value)
    good = bad.model_copy(update={"scores": {"a/acc": 0.5}, "samples": {"a": 1}})
    good.write(tmp_path / score_name(0))
    assert read_scores(tmp_path, 0, ["g"]) == good


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


def test_benchmarks_of_a_process_share_one_private_compile_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = []

    def compile_and_score(_model: str, label: str, _run: object) -> ModelScores:
        # Replaces lm-eval, whose models may compile kernels.
        place = Path(os.environ["TRITON_CACHE_DIR"])
        place.mkdir(exist_ok=True)
        places.append(str(place))
        (place / f"{label}.cubin").touch()
        return ModelScores(
            label=label,
            scores={"sums/acc": 0.5},
            samples={"sums": 4},
            signatures={"sums": "made up"},
        )

    monkeypatch.setattr("hala_hpc.engines.evaluation.lm_eval.run_benchmarks", compile_and_score)
    monkeypatch.delenv("TRITON_CACHE_DIR", raising=False)
    model = empty_model(tmp_path / "model")
    stage = evaluate(models={"one": str(model), "two": str(model)}, tasks=["sums"])
    out = PlainContext(tmp_path, stage)
    stage.run(range(stage.plan()), out)
    assert len(set(places)) == 1
    assert not Path(places[0]).exists()
    assert "TRITON_CACHE_DIR" not in os.environ
    assert len(list(out.cache.iterdir())) == 1, "the first benchmark published its cache"
