"""Which commit of the hub a result is of: recorded, a changed input where it moved, never lost."""

import json
import shutil
from pathlib import Path
from typing import Any

import hub_repositories
import pytest
from command_line import launch
from in_one_process import run_commands

from hala_hpc.core.errors import UserError
from hala_hpc.core.records import HUB_INPUT, InputFacts
from hala_hpc.jobs.attempt import hub_path

OLD, NEW = "a" * 40, "b" * 40
RECIPE = '[rows]\nstage = "prepare"\ndata = "lab/rows{revision}"\nunits = 1\n'


class Cache:
    """A hub cache with one data set, put there by hand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repository = folder / "datasets--lab--rows"

    def fetch(self, commit: str, rows: int, revision: str = "main") -> None:
        """A commit with so many rows, which the revision means from now on."""
        snapshot = self.repository / "snapshots" / commit
        snapshot.mkdir(parents=True, exist_ok=True)
        (snapshot / "train.jsonl").write_bytes(hub_repositories.rows(0, rows))
        reference = self.repository / "refs" / revision
        reference.parent.mkdir(exist_ok=True)
        reference.write_text(commit)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    """An empty hub cache of this process and its children."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return Cache(tmp_path / "hub")


def arguments_for(folder: Path, revision: str = "") -> list[str]:
    """The arguments of a launch of one node."""
    (folder / "recipe.toml").write_text(RECIPE.format(revision=revision))
    return ["stage=all", f"recipe={folder / 'recipe.toml'}", f"work={folder / 'work'}"]


def planned(arguments: list[str]) -> str:
    """The row of the node in a dry run."""
    [ended] = run_commands([["launch", *arguments, "dry_run=true"]])
    assert ended.code == 0, ended
    return next(row for row in ended.out.splitlines() if row.startswith("rows "))


def summary(folder: Path) -> dict[str, Any]:
    """The summary of the newest result."""
    found: dict[str, Any] = json.loads((folder / "work/latest/rows/summary.json").read_text())
    return found


def test_a_commit_that_moved_is_a_changed_input_and_one_that_is_gone_is_none(
    cache: Cache, tmp_path: Path
) -> None:
    arguments = arguments_for(tmp_path)
    cache.fetch(OLD, 4)
    ended = launch(*arguments)
    assert ended.code == 0, ended
    assert summary(tmp_path)["inputs"] == {"lab/rows": OLD}
    assert summary(tmp_path)["rows_out"] == 4
    # The same commit by another name is the same input.
    cache.fetch(OLD, 4, "v1")
    assert " done " in planned(arguments_for(tmp_path, "@v1"))
    assert " done " in planned(arguments_for(tmp_path, f"@{OLD}"))
    arguments = arguments_for(tmp_path)
    cache.fetch(NEW, 5)
    assert f"stale (commit of lab/rows: {OLD[:8]} -> {NEW[:8]})" in planned(arguments)
    shutil.rmtree(cache.folder)
    assert " done " in planned(arguments), "the cache was emptied; the result is what it was"


def test_a_result_of_before_anything_was_fetched_stays_until_another_commit_came(
    cache: Cache, tmp_path: Path
) -> None:
    arguments = arguments_for(tmp_path)
    cache.fetch(OLD, 4)
    assert launch(*arguments).code == 0
    # As an online job leaves it: launched by the bare name, its summary records what was read.
    [folder] = (tmp_path / "work").glob("rows-*")
    config = json.loads((folder / "config.json").read_text())
    config["inputs"]["lab/rows"]["fingerprint"] = ""
    shutil.rmtree(cache.folder)
    shutil.move(folder, tmp_path / "kept")
    assert " new " in planned(arguments)
    by_name = fingerprint_of_plan(arguments)
    renamed = tmp_path / "work" / f"rows-{by_name}"
    shutil.move(tmp_path / "kept", renamed)
    (renamed / "config.json").write_text(json.dumps(config | {"fingerprint": by_name}))
    record = json.loads((renamed / "summary.json").read_text())
    (renamed / "summary.json").write_text(json.dumps(record | {"fingerprint": by_name}))
    assert " done " in planned(arguments)
    cache.fetch(OLD, 4)
    assert " done " in planned(arguments), "it was made of just this commit"
    cache.fetch(NEW, 5)
    assert " stale" in planned(arguments)


def fingerprint_of_plan(arguments: list[str]) -> str:
    """The fingerprint that the plan has for the node."""
    from hala_hpc.commands.command_line import parse_command_line
    from hala_hpc.commands.planning.plan import make_plan

    found = parse_command_line(arguments)
    return make_plan(found.nodes, found.work, found.environment)["rows"].fingerprint


def test_a_job_reads_the_commit_of_its_launch_whatever_main_means_by_then(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = InputFacts(kind=HUB_INPUT, repository="datasets", fingerprint=OLD)
    cache.fetch(OLD, 4)
    cache.fetch(NEW, 5)
    found = hub_path("lab/rows", facts)
    assert Path(found).name == OLD
    shutil.rmtree(found)
    with pytest.raises(UserError) as error:
        hub_path("lab/rows", facts)
    assert error.value.code == 66
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    assert hub_path("lab/rows", facts) == f"lab/rows@{OLD}", "it is streamed, at that commit"
