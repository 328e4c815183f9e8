"""`clean` and `archive` on real runs: what was removed is made again for whom it is needed."""

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import CommandResult, launch, run_command
from copied_rows import ROWS, write_copy_recipe
from slow_run import read_node_states

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of `english`, `copy` and `last`, whose `copy` was made with two settings."""
    folder = tmp_path_factory.mktemp("finished")
    for version_name in ("first", ""):
        done = launch(*arguments_for(folder, folder / "work", version_name))
        assert done.code == 0, done
    return folder


@pytest.fixture
def work(finished: Path, tmp_path: Path) -> Path:
    """A copy of its work folder."""
    shutil.copytree(finished / "work", tmp_path / "work", symlinks=True)
    return tmp_path / "work"


def arguments_for(
    folder: Path, work: Path, version_name: str = "", stage: str = "last"
) -> list[str]:
    override = write_copy_recipe(folder, version_name)
    return [f"stage={stage}", override, "launcher=local", f"work={work}"]


def clean(work: Path, *arguments: str) -> CommandResult:
    return run_command(f"work={work}", *arguments, module="clean")


def read_rows(work: Path, node: str) -> list[str]:
    import pyarrow.parquet as pq

    parts = sorted((work / "latest" / node / "output").glob("part-*.parquet"))
    return sorted(row for part in parts for row in pq.read_table(part)["id"].to_pylist())


def list_files(work: Path) -> set[str]:
    found = (path for path in work.rglob("*") if path.is_file())
    return {str(path.relative_to(work)) for path in found}


def test_what_may_go_is_shown_and_goes_only_when_confirmed(finished: Path, work: Path) -> None:
    before, rows = list_files(work), read_rows(work, "last")
    shown = clean(work)
    assert shown.code == 0, shown
    assert list_files(work) == before
    old = next(path for path in work.glob("copy-*") if path != (work / "latest/copy").resolve())
    assert f"{old.name} " in shown.out
    assert "confirm=true" in shown.out
    gone = clean(work, "confirm=true")
    assert (gone.code, "removed" in gone.out) == (0, True), gone
    left = list_files(work)
    assert not [name for name in left if "/units/" in name]
    assert f"{old.name}/summary.json" in left
    assert json.loads((old / "cleaned.json").read_text())["has_output"]
    assert not (old / "output").exists()
    assert {node["state"] for node in read_node_states(work).values()} == {"done"}
    assert run_command(f"work={work}", module="verify").code == 0
    again = launch(*arguments_for(finished, work))
    assert (again.code, "nothing to submit" in again.out) == (0, True), again
    assert read_rows(work, "last") == rows


def test_a_cleaned_output_is_made_again_for_a_new_reader_only(finished: Path, work: Path) -> None:
    gone = clean(work, "node=copy", "kinds=outputs", "confirm=true")
    assert gone.code == 0, gone
    node = read_node_states(work)["copy"]
    assert (node["state"], node["rows_out"]) == ("done", ROWS)
    assert "removed by clean" in node["why"]
    verified = run_command(f"work={work}", module="verify")
    assert (verified.code, "removed by clean" in verified.out) == (0, True), verified
    same = launch(*arguments_for(finished, work))
    assert (same.code, "nothing to submit" in same.out) == (0, True), same
    planned = launch(*arguments_for(finished, work, stage="late"), "dry_run=true")
    assert "late needs it; it took" in planned.out, planned
    made = launch(*arguments_for(finished, work, stage="late"))
    assert (made.code, "copy is made again: " in made.out) == (0, True), made
    assert len(read_rows(work, "late")) == len(read_rows(work, "copy")) == ROWS
    assert not (work / "latest/copy/cleaned.json").exists()


def test_what_an_unfinished_node_reads_stays_and_so_do_its_checkpoints(work: Path) -> None:
    last = (work / "latest" / "last").resolve()
    (last / "summary.json").unlink()
    (last / "kept" / "00000").mkdir(parents=True)
    (last / "kept" / "00000" / "state").write_text("half")
    stays = clean(work, "node=copy", "kinds=outputs", "confirm=true")
    assert "copy stays: last reads it and is not done" in stays.out
    assert (work / "latest" / "copy" / "output").exists()
    clean(work, "confirm=true")
    assert (last / "kept" / "00000" / "state").exists()
    assert (last / "units").exists()
    named = clean(work, "node=last", "kinds=checkpoints", "confirm=true")
    assert (named.code, (last / "kept").exists()) == (0, False), named


def test_an_archive_explains_a_run_without_its_corpora(work: Path, tmp_path: Path) -> None:
    target = tmp_path / "run.tar.gz"
    packed = run_command(f"work={work}", f"to={target}", module="archive")
    assert packed.code == 0, packed
    shutil.unpack_archive(target, tmp_path / "out", filter="data")
    top = tmp_path / "out" / "work"
    manifest = json.loads((top / "MANIFEST.json").read_text())
    names = set(manifest["files"])
    assert names == {str(path.relative_to(top)) for path in top.rglob("*") if path.is_file()} - {
        "MANIFEST.json"
    }
    assert {"run.json", "recipe/recipe.toml"} <= names
    assert sum(name.endswith("/summary.json") for name in names) == len(
        list(work.glob("*/summary.json"))
    )
    assert not [name for name in names if name.endswith(".parquet")]
    taken = run_command(f"work={work}", f"to={target}", module="archive")
    assert (taken.code, "exists" in taken.err) == (73, True), taken
    (work / "latest" / "last" / "summary.json").unlink()
    unfinished = run_command(f"work={work}", f"to={tmp_path}/b.tar", module="archive")
    assert (unfinished.code, "last is not done" in unfinished.err) == (66, True), unfinished


def test_clean_and_a_purge_at_random_instants_lose_no_row(finished: Path, tmp_path: Path) -> None:
    """A run is killed, cleaned and purged, again and again; at its end it has the same rows."""
    chance = random.Random(29)
    expected = read_rows(finished / "work", "last")
    folder, work = tmp_path / "purged", tmp_path / "purged" / "work"
    folder.mkdir()
    override = write_copy_recipe(folder, pause_s=0.5)
    line = ["stage=all", override, "launcher=local", f"work={work}"]
    for _ in range(8):
        with subprocess.Popen(
            [sys.executable, "-m", "hala_hpc.launch", *line],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as launched:
            time.sleep(chance.uniform(1, 8))
            if (work / "run.json").exists():
                # Refused while the launch runs.
                assert clean(work, "confirm=true").code in (0, 75)
            launched.send_signal(signal.SIGKILL)
        if not (work / "run.json").exists():
            continue
        assert clean(work, "confirm=true").code in (0, 75)
        parts = [path for path in work.rglob("*.parquet") if path.is_file()]
        for path in chance.sample(parts, min(2, len(parts))):
            path.unlink()
        assert run_command(f"work={work}", module="status").code == 0
    ended = launch(*line)
    assert ended.code == 0, ended
    assert read_rows(work, "last") == read_rows(work, "late") == expected
    assert run_command(f"work={work}", module="verify").code == 0
