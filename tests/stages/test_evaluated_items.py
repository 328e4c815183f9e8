"""evaluate: every item is kept, evaluated once, and joined over shards and interruptions."""

import json
import math
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from benchmark_tasks import question_rows, write_group, write_question_task
from plain_out import PlainContext, PlainInputs
from tiny_models import untrained_model

from hala_hpc.core.errors import BAD_DATA, CONFIG, StopRequested, UserError
from hala_hpc.core.records import UnitMarker
from hala_hpc.engines.evaluation.task_groups import make_task_manager
from hala_hpc.engines.generation.settings import EngineSettings
from hala_hpc.stages.evaluate import Evaluate, Settings

TASKS = ["pooled", "even", "faulty"]
#: Items of each task: those of the two groups, and one with faulty items.
SIZES = {"one": 11, "two": 6, "three": 4, "four": 7, "faulty": 7}
FAULTS: list[dict[str, Any]] = [
    {"question": "x?", "choices": ["ماء", "ماء ", "باب"], "answer": 1},
    {"question": "y?", "choices": ["ماء", "باب"], "answer": 2},
    {"question": "z?", "choices": ["ماء"], "answer": 0},
]


def write_tasks(folder: Path) -> Path:
    for place, (name, size) in enumerate(SIZES.items()):
        rows = question_rows(size, 100 * place)
        write_question_task(
            folder, name, rows[: -len(FAULTS)] + FAULTS if name == "faulty" else rows
        )
    write_group(folder, "pooled", ["one", "two"], weighted=True)
    write_group(folder, "even", ["three", "four"], weighted=False)
    return folder


class StoppingContext(PlainContext):
    """Asks for a stop after so many answers are on the disk or added."""

    looks = 0

    @property
    def stop_requested(self) -> bool:
        self.looks += 1
        return self.looks > self.stop_at


def stage_of(models: dict[str, str], folder: Path, **given: Any) -> Evaluate:
    engine = EngineSettings(dtype="float32")
    settings = Settings(models=models, include_path=str(folder), engine=engine, **given)
    return Evaluate(settings, PlainInputs())


def collect(stage: Evaluate, out: PlainContext, output: Path) -> dict[str, Any]:
    folders = [out.folder(unit) for unit in range(stage.plan())]
    markers: list[UnitMarker] = [out.markers[unit] for unit in range(stage.plan())]
    found: dict[str, Any] = stage.collect(markers, folders, output)
    return found


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(2400)
def test_items_are_stored_and_scores_are_those_of_lm_eval_whatever_happens_meanwhile(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    model = str(untrained_model(tmp_path_factory.getbasetemp()))
    folder = write_tasks(tmp_path / "tasks")
    given: dict[str, Any] = {"tasks": TASKS, "shards": 2, "batch_size": 4}

    # Stopped twice in the middle, then to the end.
    stage = stage_of({"base": model, "again": model}, folder, **given)
    work = tmp_path / "work" / "scores"
    for stop_at in (9, 40):
        with pytest.raises(StopRequested):
            stage.run(range(stage.plan()), StoppingContext(work, stage, stop_at))
    out = PlainContext(work, stage)
    stage.run(range(stage.plan()), out)
    merged = collect(stage, out, tmp_path / "output")

    journals = sorted((work / "kept").glob("*/answers-*.jsonl"))
    keys = Counter((path.parent.name, key) for path in journals for key in keys_of(path))
    assert len({path.parent.name for path in journals}) == 6, "only the first model was asked"
    assert set(keys.values()) == {1}, "no request was made twice"
    assert sum(one.rows_rejected for one in out.markers.values()) == 6
    assert sum(one.rows_in for one in out.markers.values()) == 2 * sum(SIZES.values())
    check_items(tmp_path / "output")
    assert set(merged["excluded"]) == {"faulty"}
    check_scores(merged, model, folder)

    # Another node of the work folder asks nothing.
    other = stage_of({"first": model, "second": model}, folder, **given)
    second = PlainContext(tmp_path / "work" / "other", other)
    second.cache = out.cache
    other.run(range(other.plan()), second)
    assert not list((second.base / "kept").glob("*/*"))
    found = collect(other, second, tmp_path / "second")
    assert found["scores"]["second"] == merged["scores"]["base"]

    # A damaged result is made again.
    stored = sorted((work / "evaluations").glob("*/items.parquet"))
    assert len(stored) == 6
    stored[0].write_bytes(b"torn")
    third = PlainContext(tmp_path / "work" / "third", other)
    third.cache = out.cache
    other.run(range(other.plan()), third)
    found = collect(other, third, tmp_path / "third")
    assert found["scores"]["second"] == merged["scores"]["base"]
    assert len(list((third.base / "kept").glob("*/answers-*.jsonl"))) == 1


def check_items(output: Path) -> None:
    """Every item of every task is there once for each model; faulty ones have the reason."""
    import pandas

    items = pandas.concat(map(pandas.read_parquet, sorted(output.glob("items-*.parquet"))))
    assert len(items) == 2 * sum(SIZES.values())
    assert not items.duplicated(["model", "task", "item"]).any()
    base = items[items.model == "base"].set_index(["task", "item"]).sort_index()
    again = items[items.model == "again"].set_index(["task", "item"]).sort_index()
    assert base.correct.equals(again.correct), "the same model has the same answers"
    assert base.prompt_hash.equals(again.prompt_hash)
    excluded = base[base.excluded != ""]
    assert list(excluded.excluded) == ["equal_choices", "gold_outside_choices", "one_choice"]
    assert list(excluded.index) == [("faulty", 4), ("faulty", 5), ("faulty", 6)]
    assert excluded.correct.isna().all()
    scored = base[base.excluded == ""]
    assert (scored.log_probabilities.map(len) == 4).all()


def check_scores(merged: dict[str, Any], model: str, folder: Path) -> None:
    """The scores of groups and tasks without faults are those of lm-eval itself."""
    import lm_eval
    from lm_eval.models.huggingface import HFLM

    manager = make_task_manager(TASKS, str(folder))
    plain = HFLM(pretrained=model, dtype="float32", batch_size=4, device="cpu")
    expected = lm_eval.simple_evaluate(plain, tasks=TASKS[:2], task_manager=manager)["results"]
    scores, errors = merged["scores"]["base"], merged["errors"]["base"]
    for name in ("pooled", "even", "one", "two", "three", "four"):
        assert scores[f"{name}/acc"] == pytest.approx(expected[name]["acc,none"], abs=1e-12)
        assert errors[f"{name}/acc"] == pytest.approx(expected[name]["acc_stderr,none"], abs=1e-12)
    assert list(scores)[:2] == ["pooled/acc", "even/acc"], "groups come first"


def keys_of(path: Path) -> list[str]:
    *lines, _footer = path.read_text().splitlines()
    return [json.loads(line)[0] for line in lines]


@pytest.mark.slow
@pytest.mark.long
def test_a_model_that_computes_nan_and_tasks_without_items_are_one_error_each(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    model = untrained_model(tmp_path_factory.getbasetemp())
    folder = write_tasks(tmp_path / "tasks")
    write_question_task(folder, "hopeless", FAULTS)
    (folder / "hollow.yaml").write_text("group: hollow\ntask: []\n")
    for task, code, fault in (
        ("hopeless", BAD_DATA, "none of its 3 items can be scored (equal_choices, gold_outside"),
        ("hollow", CONFIG, "the group hollow has no tasks"),
    ):
        caught = run_to_error(stage_of({"m": str(model)}, folder, tasks=[task]), tmp_path / task)
        assert caught.code == code
        assert fault in str(caught)

    broken = tmp_path / "broken"
    shutil.copytree(model, broken)
    spoil_weights(broken / "model.safetensors")
    caught = run_to_error(stage_of({"m": str(broken)}, folder, tasks=["three"]), tmp_path / "nan")
    assert caught.code == BAD_DATA
    assert "NaN" in str(caught)
    assert "engine.dtype=float32" in str(caught)


def run_to_error(stage: Evaluate, base: Path) -> UserError:
    with pytest.raises(UserError) as caught:
        stage.run(range(stage.plan()), PlainContext(base, stage))
    return caught.value


def spoil_weights(path: Path) -> None:
    """Make one weight of the embeddings NaN in a way that every answer depends on it."""
    from safetensors.torch import load_file, save_file

    weights = load_file(path)
    name = next(name for name in weights if name.endswith("norm.weight"))
    weights[name][:] = math.nan
    save_file(weights, path, {"format": "pt"})
