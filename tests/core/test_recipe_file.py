"""Recipes that extend others; a dry run plans those of the five open questions."""

import subprocess
import sys
from pathlib import Path

import pytest
from builds import built_for_gpus
from checkout import ROOT
from command_line import recipe

from benchmarks.common.waiting import WAIT_S
from hala_hpc.core.errors import UserError
from hala_hpc.core.paths import find_toml, read_toml, shipped_names
from hala_hpc.core.recipe_file import read_recipe

QUESTIONS = {
    "merge-ratio": "ratio-report",
    "culture": "culture-report",
    "dialect": "dialect-report",
    "domains": "domains-report",
    "quality-threshold": "quality-report",
}
#: Plans every recipe in one process; the last line of each is its exit code.
PLANS = """
import sys
from hala_hpc.core.startup import prepare_process
prepare_process()
from hala_hpc.launch import launch
for line in sys.argv[1:]:
    print(f"plan of {line.split()[0]}", flush=True)
    print("exit code", launch(line.split()), flush=True)
"""
HEAD = ("Hypotheses, fixed before any run:", "Data:", "Metric:", "Plot:", "GPU hours:")


def test_each_open_question_has_a_recipe_whose_head_names_what_was_fixed_before() -> None:
    assert [f"questions/{name}" for name in sorted(QUESTIONS)] == [
        name for name in shipped_names("recipes") if "/" in name
    ]
    for name, report in QUESTIONS.items():
        head = find_toml("recipe", f"questions/{name}").read_text().partition('extends = "')[0]
        assert all(line.startswith("#") for line in head.splitlines() if line)
        assert all(part in head for part in HEAD), name
        assert f"recipe=questions/{name} stage={report} " in head


def test_a_dry_run_plans_each_open_question(tmp_path: Path) -> None:
    site = built_for_gpus(tmp_path, "h100-site")
    lines = [
        f"recipe=questions/{name} stage={report} {site} work={tmp_path}/work dry_run=true"
        for name, report in QUESTIONS.items()
    ]
    done = subprocess.run(
        [sys.executable, "-c", PLANS, *lines],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    plans = done.stdout.split("plan of recipe=questions/")[1:]
    assert len(plans) == len(QUESTIONS)
    for plan, (name, report) in zip(plans, QUESTIONS.items(), strict=True):
        assert plan.startswith(name)
        assert plan.splitlines()[-1] == "exit code 0", plan
        assert report in plan


def test_a_recipe_shares_the_nodes_of_the_one_that_it_extends() -> None:
    hala = read_toml(ROOT / "hala_hpc/recipes/hala.toml")
    for name in QUESTIONS:
        own = read_toml(find_toml("recipe", f"questions/{name}"))
        tables = read_recipe(find_toml("recipe", f"questions/{name}"))
        assert not own.keys() & hala.keys(), "a node of hala would get another result"
        assert {key: tables[key] for key in hala} == hala


def test_a_table_of_the_same_name_changes_the_settings_that_it_names(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "base.toml").write_text(
        '[a]\nstage = "prepare"\ndata = "x.jsonl"\nunits = 3\n[b]\nstage = "mine.py"\n'
    )
    text = 'extends = "../base.toml"\n[a]\nunits = 4\n[c]\nlike = "a"\n'
    (tmp_path / "deep" / "own.toml").write_text(text)
    assert read_recipe(tmp_path / "deep" / "own.toml") == {
        "a": {"stage": "prepare", "data": "x.jsonl", "units": 4},
        # A stage that is a file is relative to the recipe that names it.
        "b": {"stage": str(tmp_path / "mine.py")},
        "c": {"like": "a"},
    }


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('extends = "recipe.toml"', "recipes must not extend each other"),
        ('extends = "nothing.toml"', "no such file"),
        ('extends = "halla"', "did you mean 'hala'"),
        ("extends = 3", "write the name of a recipe"),
    ],
)
def test_what_cannot_be_extended_is_one_error(tmp_path: Path, line: str, message: str) -> None:
    recipe(tmp_path, f"{line}\n")
    with pytest.raises(UserError) as error:
        read_recipe(tmp_path / "recipe.toml")
    [text] = error.value.mistakes
    assert message in text
    assert "extends=" in text
