"""Data of benchmarks: found with lm-eval, checked where an offline job reads it, and named."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from plain_out import PlainContext, PlainInputs
from quiz_tasks import (
    CONFIGURATIONS,
    DATA_SET,
    GROUP,
    hub_variables,
    write_prepared,
    write_quiz,
)

from hala_hpc.core.errors import NO_INPUT, UserError
from hala_hpc.core.hub_dependency import HubDependency, HubSite
from hala_hpc.engines.evaluation.task_cache import RECEIPT_FILE
from hala_hpc.engines.evaluation.task_fetch import find_changed_task_files, write_receipt
from hala_hpc.stages.evaluate import Evaluate, Settings

#: A task whose code downloads a metric and nltk data, and another data set in an imported file.
CODED = """task: lab_coded
dataset_path: lab/coded
output_type: generate_until
test_split: test
process_results: !function scoring.score
metric_list: [{metric: f1}]
"""
SCORING = """from cutting import cut
import evaluate
def score(doc, results):
    return evaluate.load("rouge").compute(predictions=results, references=cut(doc))
"""
CUTTING = """import nltk
def cut(doc):
    nltk.data.find("tokenizers/punkt_tab")
    return [datasets.load_dataset("lab/words", "ar")]
"""
OWN_DATA = """task: lab_own
custom_dataset: !function cutting.cut
test_split: test
metric_list: [{metric: exact_match}, {metric: made_up_metric}]
output_type: generate_until
"""


@dataclass(frozen=True)
class Lab:
    """A folder of task files, and caches that hold only lm-eval's answers about them."""

    tasks: Path
    cache_home: Path

    def stage(self, *tasks: str) -> Evaluate:
        settings = {"models": {"m": "@m"}, "tasks": tasks, "include_path": str(self.tasks)}
        return Evaluate(Settings.model_validate(settings), PlainInputs())

    def site(self, home: Path, python: str = sys.executable) -> HubSite:
        environment = {**hub_variables(home), "XDG_CACHE_HOME": str(self.cache_home)}
        return HubSite(environment, python, home)

    def hub_dependencies(self, home: Path, *tasks: str) -> list[HubDependency]:
        return self.stage(*tasks).hub_dependencies(self.site(home))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    base = tmp_path_factory.mktemp("lab")
    tasks = write_quiz(base / "tasks")
    (tasks / "coded.yaml").write_text(CODED)
    (tasks / "own.yaml").write_text(OWN_DATA)
    (tasks / "scoring.py").write_text(SCORING)
    (tasks / "cutting.py").write_text(CUTTING)
    return Lab(tasks, base / "cache")


def test_every_configuration_that_a_group_reads_is_named_where_it_is_missing(
    lab: Lab, tmp_path: Path
) -> None:
    cache = tmp_path / "datasets"
    (dependency,) = lab.hub_dependencies(tmp_path, GROUP)
    assert (dependency.kind, dependency.name, dependency.path) == (
        "task data",
        DATA_SET,
        cache / "lab___quiz",
    )
    assert dependency.problems == (
        f"2 of 2 configurations are not in {cache / 'lab___quiz'}: easy, hard",
    )
    write_prepared(cache, "easy")
    (dependency,) = lab.hub_dependencies(tmp_path, GROUP)
    assert dependency.problems == (
        f"1 of 2 configurations are not in {cache / 'lab___quiz'}: hard",
    )
    folder = write_prepared(cache, "hard")
    (dependency,) = lab.hub_dependencies(tmp_path, GROUP)
    assert dependency.is_complete
    assert dependency.commit == folder.name


def test_a_damaged_file_of_data_is_named(lab: Lab, tmp_path: Path) -> None:
    cache = tmp_path / "datasets"
    folders = [write_prepared(cache, name) for name in CONFIGURATIONS]
    path = folders[1] / "quiz-test.arrow"
    content = path.read_bytes()

    def faults() -> tuple[str, ...]:
        (dependency,) = lab.hub_dependencies(tmp_path, GROUP)
        return dependency.problems

    path.write_bytes(content[:-40])
    assert faults() == (f"configuration hard {path} is damaged: not a complete Arrow stream",)
    path.unlink()
    assert faults() == (f"configuration hard {path} is missing",)
    path.write_bytes(content)
    write_receipt(folders[1])
    assert faults() == ()
    path.write_bytes(content + content[-8:])
    assert faults() == (
        f"configuration hard {path} is damaged: {len(content) + 8} bytes of {len(content)}",
    )
    (folders[1] / "dataset_info.json").write_text("{")
    (fault,) = faults()
    assert fault.startswith(f"configuration hard {folders[1]} is incomplete")
    assert "dataset_info.json is damaged" in fault


def test_a_changed_content_is_found_by_its_digest(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_prepared(tmp_path / "datasets", "easy")
    write_receipt(folder)
    path = folder / "quiz-test.arrow"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "datasets"))
    needs = lab.stage(f"{GROUP}_easy").needs(lab.site(tmp_path))
    (fault,) = find_changed_task_files(needs)
    assert f"{path} is damaged" in fault


def test_incomplete_data_or_a_missing_split_is_named(lab: Lab, tmp_path: Path) -> None:
    cache = tmp_path / "datasets"
    write_prepared(cache, "easy")
    folder = write_prepared(cache, "hard", split="train")
    (dependency,) = lab.hub_dependencies(tmp_path, GROUP)
    assert dependency.problems == ("configuration hard has no split 'test': train",)
    begun = folder.with_name("fedcba.incomplete")
    begun.mkdir()
    (dependency,) = lab.hub_dependencies(tmp_path, GROUP)
    (problem,) = dependency.problems
    assert problem.startswith(f"configuration hard {begun} is incomplete")


def test_what_the_code_of_a_task_fetches_is_read_from_its_text(lab: Lab, tmp_path: Path) -> None:
    found = {
        (dependency.kind, dependency.name): dependency
        for dependency in lab.hub_dependencies(tmp_path, "lab_coded")
    }
    assert list(found) == [
        ("task data", "lab/coded"),
        ("task data", "lab/words"),
        ("language data", "nltk punkt_tab"),
        ("metric", "rouge"),
    ]
    assert all(not dependency.is_complete for dependency in found.values())
    (tmp_path / "nltk_data" / "tokenizers" / "punkt_tab").mkdir(parents=True)
    code = tmp_path / "modules" / "evaluate_modules" / "metrics" / "evaluate-metric--rouge" / "0"
    code.mkdir(parents=True)
    (code / "rouge.py").touch()
    for name in ("coded", "words"):
        write_prepared(tmp_path / "datasets", "ar" if name == "words" else "default", f"lab/{name}")
    found = {
        (dependency.kind, dependency.name): dependency
        for dependency in lab.hub_dependencies(tmp_path, "lab_coded")
    }
    # The invented data sets have the files of the quiz under their own names.
    assert [dependency.name for dependency in found.values() if not dependency.is_complete] == []


def test_a_task_that_loads_data_by_its_own_code_is_known_as_such(lab: Lab, tmp_path: Path) -> None:
    (need,) = lab.stage("lab_own").needs(lab.site(tmp_path))
    assert need.own_code == ("lab_own",)
    assert need.metrics == ("made_up_metric",)


def test_lm_eval_runs_once_and_again_when_a_task_file_changes(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = lab.hub_dependencies(tmp_path, GROUP)

    class Started(Exception):
        """The interpreter was started."""

    def refuse(*_: object, **__: object) -> None:
        raise Started

    monkeypatch.setattr(subprocess, "run", refuse)
    assert lab.hub_dependencies(tmp_path, GROUP) == before
    (lab.tasks / "__pycache__").mkdir()
    (lab.tasks / "__pycache__" / "scoring.pyc").touch()
    assert lab.hub_dependencies(tmp_path, GROUP) == before
    (lab.tasks / "easy.yaml").touch()
    with pytest.raises(Started):
        lab.hub_dependencies(tmp_path, GROUP)


def test_without_an_environment_the_unknown_tasks_are_named(lab: Lab, tmp_path: Path) -> None:
    site = lab.site(tmp_path, python=str(tmp_path / "bin" / "python"))
    (dependency,) = lab.stage(GROUP).hub_dependencies(site)
    (problem,) = dependency.problems
    assert problem.startswith("tasks: lab_quiz: what they read is unknown")
    assert "make env" in problem


def run_stage(stage: Evaluate, base: Path) -> None:
    stage.run(range(stage.plan()), PlainContext(base / "job", stage))


def test_a_job_names_missing_data_before_it_reads_a_model(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_DATASETS_CACHE", "HF_HUB_CACHE", "NLTK_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    write_prepared(tmp_path / "datasets", "easy")
    with pytest.raises(UserError) as caught:
        run_stage(lab.stage(GROUP), tmp_path)
    assert caught.value.code == NO_INPUT
    (message,) = caught.value.mistakes
    assert "1 of 2 configurations are not in" in message
    assert "hala_hpc.fetch" in message
    (folder,) = (tmp_path / "datasets" / "lab___quiz" / "easy" / "0.0.0").iterdir()
    assert not (folder / RECEIPT_FILE).exists()
