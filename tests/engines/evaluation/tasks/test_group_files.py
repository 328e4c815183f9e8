"""The task files of our groups: what each says of its data, and that nothing is missing."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from checkout import ROOT

from hala_hpc.engines.evaluation.task_groups import OWN_TASKS
from hala_hpc.engines.evaluation.task_names import describe_refused_task, describe_unknown_task

GROUPS = ("arabic", "qimma", "dialect", "culture", "english", "linguistic")


@cache
def task_files() -> dict[str, dict[str, Any]]:
    """Every task file by its name."""
    found = {}
    for path in sorted(OWN_TASKS.glob("*/*.yaml")):
        text = path.read_text().replace("!function ", "")
        found[path.stem] = {**yaml.load(text, yaml.CSafeLoader), "text": text}
    return found


def test_each_file_lists_what_it_reads_and_which_task_it_follows() -> None:
    files = task_files()
    assert set(GROUPS) <= set(files)
    for name, settings in files.items():
        assert name == settings.get("group", settings["task"])
        metadata = settings["metadata"]
        assert metadata["version"]
        if "data" not in metadata:
            assert set(settings) <= {"group", "task", "metadata", "text"}, f"{name} has data"
            continue
        for data in metadata["data"]:
            assert set(data) == {"id", "revision", "licence", "gate"}
        assert set(metadata["reference"]) == {"implementation", "version"}
        if "dataset_path" in settings:
            assert [data["id"] for data in metadata["data"]] == [settings["dataset_path"]]


def test_the_benchmarks_of_the_leaderboard_have_all_its_parts() -> None:
    files = task_files()
    parts = {name: len(files[name]["task"]) for name in files if name.startswith("oall_")}
    parts["oall_exams"] = 1
    assert parts == {
        "oall_alghafa": 8,
        "oall_arabic_mmlu": 40,
        "oall_arabic_mmlu_ht": 57,
        "oall_aratrust": 8,
        "oall_exams": 1,
        "oall_madinah_qa": 2,
    }
    assert files["arabic"]["task"] == [name for name in files["arabic"]["task"] if name in parts]
    assert len(files["arabic"]["task"]) == 6


def test_every_group_has_a_line_in_the_page_on_benchmarks() -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text()
    for name, settings in task_files().items():
        if name.startswith("qimma_"):
            continue
        assert f"`{name}`" in page
        for data in settings["metadata"].get("data", []):
            assert data["id"] in page, f"{name}: {data['id']}"


def test_a_function_that_a_task_file_names_exists() -> None:
    from hala_hpc.engines.evaluation.tasks import aralingbench, leaderboard_prompts

    modules = {module.__name__: module for module in (aralingbench, leaderboard_prompts)}
    for settings in task_files().values():
        members = settings["task"] if isinstance(settings["task"], list) else []
        named = [one["process_docs"] for one in members if "process_docs" in one]
        for function in [*named, *filter(None, [settings.get("process_docs")])]:
            module, _, name = function.rpartition(".")
            assert callable(getattr(modules[module], name))


@pytest.mark.parametrize(
    ("task", "right"),
    [
        ("arabic_leaderboard_complete", "'arabic'"),
        ("arabic_leaderboard_arabic_mmlu", "'oall_arabic_mmlu'"),
    ],
)
def test_names_that_mislead_are_refused_with_the_right_one(task: str, right: str) -> None:
    refusal = describe_refused_task(task, None)
    assert refusal
    assert right in refusal
    assert describe_refused_task(task, str(Path("own"))) is None, "a lab's own file may have it"
    assert describe_refused_task("mmlu", None) is None


def test_names_that_others_use_lead_to_ours() -> None:
    known = ["AraDiCE", "darijammlu", "oall_madinah_qa"]
    assert "did you mean 'AraDiCE'?" in describe_unknown_task("aradice", known, None)
    assert "did you mean 'darijammlu'?" in describe_unknown_task("darija_bench", known, None)
    assert "did you mean 'oall_madinah_qa'?" in describe_unknown_task("madinah_qa", known, None)
