"""Answers for lm-eval tasks that are shipped with the package; unknown tasks are refused."""

import sys
from pathlib import Path
from urllib.parse import unquote

import pytest
from checkout import ROOT
from plain_out import PlainInputs
from quiz_tasks import GROUP, hub_variables, write_quiz

from hala_hpc.core.errors import CONFIG, UserError
from hala_hpc.core.hub_dependency import HubSite
from hala_hpc.core.paths import read_toml
from hala_hpc.engines.evaluation.task_answers import SHIPPED, query_lm_eval, shipped_answer
from hala_hpc.engines.evaluation.task_needs import TaskRequest
from hala_hpc.stages.evaluate import Evaluate, Settings


def tasks_of_recipe() -> list[str]:
    table = read_toml(ROOT / "hala_hpc" / "recipes" / "hala.toml")
    nodes = [node for node in table.values() if isinstance(node, dict)]
    return sorted({task for node in nodes for task in node.get("tasks", [])})


def site(home: Path, python: str) -> HubSite:
    return HubSite(hub_variables(home), python, home)


def evaluate(**settings: object) -> Evaluate:
    return Evaluate(Settings.model_validate({"models": {"m": "@m"}, **settings}), PlainInputs())


def test_what_the_tasks_of_the_recipe_read_is_known_before_anything_is_set_up(
    tmp_path: Path,
) -> None:
    tasks = tasks_of_recipe()
    assert tasks
    dependencies = evaluate(tasks=tasks).hub_dependencies(
        site(tmp_path, python=str(tmp_path / "bin" / "python"))
    )
    problems_by_name = {dependency.name: dependency.problems[0] for dependency in dependencies}
    assert list(problems_by_name) == [
        "OALL/AlGhafa-Arabic-LLM-Benchmark-Native",
        "MBZUAI/ArabicMMLU",
        "OALL/Arabic_EXAMS",
        "MBZUAI/MadinahQA",
        "asas-ai/AraTrust-categorized",
        "MBZUAI/human_translated_arabic_mmlu",
        "hammh0a/AraLingBench",
        "cais/mmlu",
    ]
    assert problems_by_name["MBZUAI/ArabicMMLU"].startswith("40 of 40 configurations are not in")


def test_what_our_groups_read_is_known_too(tmp_path: Path) -> None:
    groups = ["arabic", "qimma", "dialect", "culture", "english", "linguistic"]
    for group in groups:
        found = evaluate(tasks=[group]).hub_dependencies(
            site(tmp_path, python=str(tmp_path / "bin" / "python"))
        )
        assert found, group


@pytest.mark.slow
@pytest.mark.long
def test_shipped_answers_are_those_of_lm_eval() -> None:
    names = sorted(unquote(path.stem) for path in SHIPPED.iterdir())
    assert set(tasks_of_recipe()) <= set(names)
    answers = query_lm_eval(TaskRequest(tuple(names)), sys.executable)
    assert [one.task for one in answers] == names
    assert list(answers) == [shipped_answer(name) for name in names]


@pytest.mark.long
@pytest.mark.slow
def test_misspelled_tasks_are_refused_with_the_closest_and_files_that_cannot_be_read(
    tmp_path: Path,
) -> None:
    tasks = write_quiz(tmp_path / "tasks")
    (tasks / "hard.yaml").write_text("task: [")
    stage = evaluate(tasks=["lab_quis", "x9"], include_path=str(tasks))
    for _ in range(2):
        with pytest.raises(UserError) as caught:
            stage.hub_dependencies(site(tmp_path / "home", sys.executable))
        assert caught.value.code == CONFIG
        near, far = caught.value.mistakes
        where = f", include_path={tasks}"
        assert near.startswith(
            f"tasks: unknown lm-eval task 'lab_quis'{where}; did you mean {GROUP!r}?"
        )
        assert f"{tasks / 'hard.yaml'} cannot be read" in near
        assert far.startswith(
            f"tasks: unknown lm-eval task 'x9'{where}; `lm_eval ls tasks` lists them"
        )


def test_variables_of_a_job_name_folders_beside_the_hub_cache(tmp_path: Path) -> None:
    from hala_hpc.core.environment import data_folders

    home = tmp_path / "hub-home"
    given = {"HF_HOME": str(home), "HF_DATASETS_CACHE": "/scratch/sets"}
    assert data_folders(given) == {
        "HF_DATASETS_CACHE": "/scratch/sets",
        "HF_MODULES_CACHE": str(home / "modules"),
        "NLTK_DATA": str(home / "nltk_data"),
    }
    assert data_folders({"XDG_CACHE_HOME": "/c"})["HF_DATASETS_CACHE"] == "/c/huggingface/datasets"
