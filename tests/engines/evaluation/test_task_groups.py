"""Our groups in lm-eval's TaskManager: complete, without reading 14,000 files, in Arabic."""

import os
from pathlib import Path

import pytest
from checkout import ROOT

from hala_hpc.engines.evaluation.task_groups import (
    arab_culture_prompt,
    arab_culture_variables,
    make_task_manager,
    names_in,
)
from hala_hpc.engines.evaluation.task_names import DIFFERENT, REFUSED, USED_ELSEWHERE

GROUPS = ("arabic", "qimma", "dialect", "culture", "english", "linguistic")


@pytest.mark.long
@pytest.mark.slow
def test_groups_are_complete_with_the_folders_that_they_name() -> None:
    from hala_hpc.engines.evaluation.task_reader import read_tasks

    for tasks, include_path in ((GROUPS, None), (("turkish",), str(ROOT / "examples" / "tasks"))):
        manager = make_task_manager(tasks, include_path)
        assert len(manager.all_tasks) < 1000, "lm-eval's own task files are not all read"
        assert set(names_in(manager, tasks)) <= set(manager.all_tasks)
        needs = read_tasks(manager, tasks, include_path)
        assert [one.problem for one in needs] == [""] * len(tasks)
        by_task = {one.task: one for one in needs}
        assert all(one.data_sets for one in needs)
        if "arabic" in by_task:
            assert len(by_task["arabic"].data_sets) == 8 + 40 + 1 + 2 + 8 + 57
            assert by_task["english"].language_data == ("punkt_tab",)


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_names_in_the_tables_are_those_of_lm_eval_and_tasks_of_groups_are_none(
    tmp_path: Path,
) -> None:
    (tmp_path / "own.yaml").write_text("group: lab_own\ntask: [hellaswag]\n")
    manager = make_task_manager(["lab_own"], str(tmp_path))
    known = set(manager.all_tasks)
    assert len(known) > 10_000, "a group that names another task of lm-eval gets it"
    assert set(REFUSED) | set(DIFFERENT) <= known
    assert not set(USED_ELSEWHERE) & known
    assert set(USED_ELSEWHERE.values()) <= known
    for entry in manager.task_index.values():
        if entry.yaml_path and "hala_hpc" in str(entry.yaml_path) and entry.cfg:
            members = entry.cfg.get("task")
            inside = [one["task"] for one in members if isinstance(one, dict)] if members else []
            if "dataset_path" in entry.cfg and isinstance(members, list):
                assert not set(inside) & known, entry.name


@pytest.mark.long
@pytest.mark.slow
def test_arab_culture_asks_in_arabic_with_country_and_region() -> None:
    import lm_eval.tasks
    from lm_eval.tasks._yaml_loader import load_yaml

    before = {name: os.environ.get(name) for name in ("ARABIC", "REGION", "COUNTRY")}
    folder = Path(lm_eval.tasks.__file__).parent / "arab_culture"
    with arab_culture_variables():
        task = load_yaml(folder / "arab_culture_egypt.yaml")
    assert {name: os.environ.get(name) for name in before} == before
    options = {"arabic_keys": ["أ", "ب", "ج"], "english_keys": ["A", "B", "C"], "text": ["١"] * 3}
    row = {"country": "Egypt", "region": "Nile Valley", "first_statement": "نص", "options": options}
    text = task["doc_to_text"](row)
    assert "مصر" in text
    assert "وادي النيل" in text
    assert "أ. ١" in text
    assert task["doc_to_choice"](row) == ["أ", "ب", "ج"]
    assert arab_culture_prompt() == "ARABIC=True,REGION=True,COUNTRY=True"
