"""Generated answers of benchmarks come from an engine, and are those of lm-eval's hf model."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from plain_out import PlainContext, PlainInputs
from tiny_models import SENTENCES, TRANSLATE, trained_model

from benchmarks.kills.node import STAND_IN_ENGINE
from hala_hpc.core.errors import StopRequested
from hala_hpc.engines.evaluation.generated_answers import BenchmarkEngine, GenerationPrompt
from hala_hpc.engines.evaluation.item_progress import ItemProgress
from hala_hpc.engines.generation.batch import AnswerCount
from hala_hpc.engines.generation.engine import EngineConfig
from hala_hpc.engines.generation.settings import EngineSettings
from hala_hpc.stages.evaluate import Evaluate, Settings

#: Answers of the tiny model; the last argument cuts them in the middle.
TASK = """task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
output_type: {kind}
test_split: test
doc_to_text: "{{{{prompt}}}}"
doc_to_target: "{{{{answer}}}}"
{more}
metadata: {{version: 1}}
"""
GENERATED = """generation_kwargs: {until: ["ا"], max_gen_toks: 24, do_sample: false}
metric_list: [{metric: exact_match}]"""
CHOSEN = """doc_to_choice: ["accept", "reject"]
metric_list: [{metric: acc}]"""


def stage_out(base: Path, **given: Any) -> PlainContext:
    return PlainContext(base, Evaluate(Settings(models={"m": "m"}), PlainInputs()), **given)


def prompt(text: str, max_new_tokens: int = 20) -> GenerationPrompt:
    return GenerationPrompt(text, list(text.encode()), max_new_tokens, ("!",))


def test_an_engine_has_the_context_that_the_answers_need_and_restarts_for_more(
    tmp_path: Path,
) -> None:
    settings = EngineSettings(name=STAND_IN_ENGINE, temperature=0.7)
    engine = BenchmarkEngine(EngineConfig(str(tmp_path), settings), max_context=3000)
    count = AnswerCount(stage_out(tmp_path))
    answers: dict[int, str] = {}
    engine.answer([prompt("<s>ab"), prompt("b c")], count, answers.__setitem__)
    first = engine.start(10)
    assert answers[1] == "ب ج"
    assert (first.max_model_len, first.settings.temperature) == (1024, 0.0)
    engine.answer([prompt("a", 2000)], count, answers.__setitem__)
    assert engine.start(10).max_model_len == 2048
    assert engine.start(2900).max_model_len == 3000, "no more than the model has"
    assert count.tokens > 0


def test_an_item_is_a_row_when_its_last_answer_is_there() -> None:
    beats: list[int] = []
    reported: dict[str, float] = {}
    out = SimpleNamespace(report_progress=reported.update)
    count = AnswerCount(out, rows_of_worker=5, rows=1)  # type: ignore[arg-type]
    progress = ItemProgress(count, beats.append)
    requests = [SimpleNamespace(task_name="t", doc_id=item) for item in (0, 0, 1, 2)]
    progress.begin(["a", "b", "c", "c"], requests)
    progress.add("a")
    assert (reported["rows"], beats) == (1, [])
    with progress.scoring():
        progress.add("b")
        progress.add("b")
    assert (reported["rows"], reported["rows_of_worker"]) == (2, 5)
    assert beats == [1, 1, 1, 0], "only a computation in which answers follow each other is watched"
    progress.add("c")
    assert reported["rows"] == 4, "an answer that two items share"
    progress.finish(items=4)
    assert reported["rows"] == 5, "also an item that is not scored"


def write_task(folder: Path, name: str, kind: str, more: str, rows: list[dict[str, Any]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / f"{name}.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = TASK.format(name=name, data=data, kind=kind, more=more)
    (folder / f"{name}.yaml").write_text(text)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(2400)
def test_answers_scores_and_signatures_are_equal_whoever_generates_and_whatever_stops_it(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    model = str(trained_model(tmp_path_factory.getbasetemp()))
    tasks = tmp_path / "tasks"
    asked = [
        {"prompt": chat(TRANSLATE.format(text=source)), "answer": target.split("ا")[0]}
        for source, target in SENTENCES.items()
    ]
    write_task(tasks, "free", "generate_until", GENERATED, asked)
    write_task(
        tasks, "chosen", "multiple_choice", CHOSEN, [{**row, "answer": 0} for row in asked[:3]]
    )
    (tasks / "both.yaml").write_text("group: both\ntask: [free, chosen]\n")
    stage = Evaluate(
        Settings(
            models={"m": model},
            tasks=["both"],
            include_path=str(tasks),
            engine=EngineSettings(dtype="float32", cpu_cache_gb=0.1),
        ),
        PlainInputs(),
    )
    with pytest.raises(StopRequested):
        stage.run([0], StoppingSoon(tmp_path / "one" / "scores", stage))
    out = PlainContext(tmp_path / "one" / "scores", stage)
    stage.run([0], out)
    undisturbed = PlainContext(tmp_path / "two" / "scores", stage)
    stage.run([0], undisturbed)
    assert out.counts["rows"] == out.counts["rows_of_worker"] == 11
    assert undisturbed.counts["tokens"] > 0
    first, second = (json.loads(find_scores(one)) for one in (out, undisturbed))
    assert first == second, "signatures, too"
    assert "backend:vllm|" in first["signatures"]["free"]
    assert "choices" not in first["signatures"]["free"]
    assert "backend:hf|" in first["signatures"]["chosen"]
    assert "|choices:" in first["signatures"]["chosen"]
    assert "backend:hf+vllm|" in first["signatures"]["both"]
    check_against_lm_eval(model, tasks, out)


def chat(text: str) -> str:
    return f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"


class StoppingSoon(PlainContext):
    """Asks for a stop after a few looks: in the middle of the choices or answers."""

    looks = 0

    @property
    def stop_requested(self) -> bool:
        self.looks += 1
        return self.looks > 5


def find_scores(out: PlainContext) -> str:
    return (out.folder(0) / "scores-00000.json").read_text()


def check_against_lm_eval(model: str, tasks: Path, out: PlainContext) -> None:
    """Answers and scores are those of lm-eval's own hf model."""
    import lm_eval
    import pandas
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(tasks), include_defaults=False)
    plain = HFLM(pretrained=model, dtype="float32", batch_size=4, device="cpu")
    found = lm_eval.simple_evaluate(plain, tasks=["free"], task_manager=manager, log_samples=True)
    items = pandas.read_parquet(out.folder(0) / "items-00000.parquet")
    items = items[items.task == "free"].sort_values("item")
    samples = sorted(found["samples"]["free"], key=lambda one: int(one["doc_id"]))
    assert list(items.answer) == [one["filtered_resps"][0] for one in samples]
    assert len(set(items.answer)) > 3, "the model knows something"
    assert items.correct.mean() == found["results"]["free"]["exact_match,none"]
