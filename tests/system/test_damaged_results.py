"""Results are verified, not remembered: what was lost of a finished run is made again.

What is on the disk is counted here by pyarrow and hashlib alone.
"""

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import launch, recipe, run_command
from message_checks import assert_message
from slow_run import SMALL, standin_variables, write_stand_in_recipe

ROWS = 40


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two nodes: `first` of four units, and `second` that reads it."""
    folder = tmp_path_factory.mktemp("finished")
    lines = [
        json.dumps({"instruction": f"Say the number {number}", "output": f"It is {number}."})
        for number in range(ROWS)
    ]
    (folder / "rows.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "more.jsonl").write_text('{"instruction": "Say 1", "output": "1"}\n')
    done = launch(*arguments_for(folder / "work", folder))
    assert done.code == 0, done.err
    return folder


def arguments_for(work: Path, folder: Path) -> list[str]:
    text = f"""
[first]
stage = "prepare"
data = "{folder}/rows.jsonl"
units = 4
{SMALL}
[second]
stage = "prepare"
data = "{folder}/more.jsonl"
units = 1
{SMALL}
"""
    return ["stage=all", recipe(folder, text), f"work={work}", "launcher=local"]


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run with nothing damaged yet."""
    shutil.copytree(finished / "work", tmp_path / "work", symlinks=True)
    return tmp_path / "work"


def node(work: Path, name: str = "first") -> Path:
    return (work / "latest" / name).resolve()


def rows_on_disk(work: Path, name: str = "first") -> int:
    import pyarrow.parquet as pq

    parts = node(work, name).glob("output/*.parquet")
    return sum(pq.read_metadata(part).num_rows for part in parts)


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def part(work: Path, number: int, place: str = "output", name: str = "first") -> Path:
    folder = node(work, name) / place
    return sorted(folder.rglob("part-*.parquet"))[number]


def change_a_letter(path: Path, at: int = 40) -> None:
    """Change a byte in place, so that all names of a file have it; its size stays."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def repair(work: Path, finished: Path) -> None:
    done = launch(*arguments_for(work, finished))
    assert done.code == 0, done
    assert rows_on_disk(work) == ROWS
    summary = json.loads((node(work) / "summary.json").read_text())
    assert (summary["rows_in"], summary["rows_out"], summary["rows_rejected"]) == (ROWS, ROWS, 0)
    assert summary["sha256"] == digests(node(work) / "output")


def lose_a_part_of_the_output(work: Path) -> None:
    part(work, 1).unlink()


def cut_a_part_of_the_output(work: Path) -> None:
    cut = part(work, 1)
    cut.write_bytes(cut.read_bytes()[:-9])


def lose_the_output(work: Path) -> None:
    shutil.rmtree(node(work) / "output")


def lose_summary_output_and_a_part_of_a_unit(work: Path) -> None:
    (node(work) / "summary.json").unlink()
    shutil.rmtree(node(work) / "output")
    part(work, 2, "units").unlink()


def lose_a_marker_and_cut_its_unit(work: Path) -> None:
    (node(work) / "summary.json").unlink()
    (node(work) / "done" / "00002.json").unlink()
    cut = part(work, 2, "units")
    whole = cut.read_bytes()
    # Its other name, in the output, stays as it is.
    cut.unlink()
    cut.write_bytes(whole[:-9])


def change_a_letter_of_a_unit_that_is_not_gathered(work: Path) -> None:
    (node(work) / "summary.json").unlink()
    shutil.rmtree(node(work) / "output")
    change_a_letter(part(work, 2, "units"))


def lose_all_units_and_the_output(work: Path) -> None:
    shutil.rmtree(node(work) / "units")
    shutil.rmtree(node(work) / "output")


@pytest.mark.parametrize(
    "damage",
    [
        lose_a_part_of_the_output,
        cut_a_part_of_the_output,
        lose_the_output,
        lose_summary_output_and_a_part_of_a_unit,
        lose_a_marker_and_cut_its_unit,
        change_a_letter_of_a_unit_that_is_not_gathered,
        lose_all_units_and_the_output,
    ],
)
def test_the_same_command_makes_again_what_was_lost(
    damage: Callable[[Path], None], run: Path, finished: Path
) -> None:
    damage(run)
    repair(run, finished)
    again = launch(*arguments_for(run, finished))
    assert (again.code, "nothing to submit" in again.out) == (0, True)


def test_a_gate_without_time_takes_the_digests_of_its_workers_and_reports_it(run: Path) -> None:
    change_a_letter_of_a_unit_that_is_not_gathered(run)
    ended = run_command(str(node(run)), module="gate", SLURM_JOB_END_TIME=str(int(time.time())))
    assert ended.code == 0, ended
    summary = json.loads((node(run) / "summary.json").read_text())
    assert_message(summary["because"], "8 of 8 files were not re-read", "timeout_min")
    assert run_command(f"work={run}", module="verify").code == 65


def test_verify_does_not_wait_for_a_pipe_in_the_place_of_a_result(
    run: Path, finished: Path
) -> None:
    pipe = part(run, 1)
    pipe.unlink()
    os.mkfifo(pipe)
    ended = run_command(f"work={run}", module="verify")
    assert (ended.code, str(pipe) in ended.out) == (65, True), ended
    repair(run, finished)


def test_status_and_dry_run_name_a_finished_node_whose_files_are_gone(
    run: Path, finished: Path
) -> None:
    lost = part(run, 1)
    lost.unlink()
    ended = run_command(f"work={run}", "format=json", module="status")
    states = {one["name"]: one for one in json.loads(ended.out)["nodes"]}
    assert (states["first"]["state"], states["second"]["state"]) == ("damaged", "done")
    assert lost.name in states["first"]["why"]
    plan = launch(*arguments_for(run, finished), "dry_run=true")
    assert "damaged" in plan.out
    assert lost.name in plan.out


def test_verify_finds_a_changed_letter_and_repairs_it(run: Path, finished: Path) -> None:
    whole = digests(node(run) / "output")
    changed = part(run, 3)
    change_a_letter(changed)
    assert "nothing to submit" in launch(*arguments_for(run, finished)).out, (
        "sizes alone do not show it"
    )
    ended = run_command(f"work={run}", module="verify")
    assert ended.code == 65
    assert str(changed) in ended.out
    mended = run_command(f"work={run}", "repair=true", module="verify")
    assert mended.code == 0, mended
    repair(run, finished)
    assert digests(node(run) / "output") == whole
    sound = run_command(f"work={run}", module="verify")
    assert sound.code == 0, sound.out


def test_a_changed_letter_of_an_input_ends_the_node_with_a_fix_that_works(tmp_path: Path) -> None:
    arguments = [
        "stage=english",
        write_stand_in_recipe(tmp_path, ROWS),
        f"work={tmp_path / 'work'}",
    ]
    assert launch(*arguments).code == 0
    [english] = node(tmp_path / "work", "english").glob("output/part-*.parquet")
    whole = english.read_bytes()
    # Behind the pages are the notes of the file, which no reader of rows reads.
    pages = len(whole) - int.from_bytes(whole[-8:-4], "little")
    change_a_letter(english, at=pages // 2)
    arguments[0] = "stage=arabic"
    variables: dict[str, Any] = standin_variables()
    refused = launch(*arguments, **variables)
    assert refused.code == 65, refused
    assert "Traceback" not in refused.err
    [fix] = re.findall(r"`(python -m hala_hpc.verify [^`]+)`", refused.err)
    subprocess.run([sys.executable, *shlex.split(fix)[1:]], check=True)
    done = launch(*arguments, **variables)
    assert done.code == 0, done
    assert english.read_bytes() == whole
    assert rows_on_disk(tmp_path / "work", "arabic") == ROWS


@pytest.mark.parametrize("damage", ["removed", "cut"])
def test_verify_does_not_forget_a_whole_result_for_units_that_are_not(
    run: Path, finished: Path, damage: str
) -> None:
    if damage == "removed":
        shutil.rmtree(node(run) / "units")
        shutil.rmtree(node(run) / "done")
    for marker in (node(run) / "done").glob("*.json"):
        # A finished node needs no marker, and the launch reads none.
        marker.write_bytes(marker.read_bytes()[:50])
    ended = run_command(f"work={run}", "repair=true", module="verify")
    assert ended.code == 0, ended
    assert "4 of 4 units are incomplete or gone" in ended.out
    assert "nothing to submit" in launch(*arguments_for(run, finished)).out


@pytest.mark.parametrize(
    ("what", "change"),
    [("a file", "a line more"), ("a folder", "a line more"), ("a folder", "a file more")],
)
def test_a_node_is_not_made_of_an_input_that_changed_since_the_launch(
    tmp_path: Path, what: str, change: str
) -> None:
    data = tmp_path / "rows" / "first.jsonl"
    data.parent.mkdir()
    row = json.dumps({"instruction": "Say 1", "output": "1"}) + "\n"
    for path in (data, data.with_name("second.jsonl")):
        path.write_text(row)
    named = data if what == "a file" else data.parent
    text = f'[first]\nstage="prepare"\ndata="{named}"\nunits=1\n{SMALL}\n'
    arguments = [
        *("stage=all", recipe(tmp_path, text)),
        f"work={tmp_path / 'work'}",
        "launcher=local",
    ]
    other = data.with_name("third.jsonl")
    changes = {
        "a line more": f"open({str(data)!r}, 'a').write({row!r})",
        "a file more": f"open({str(other)!r}, 'w').write({row!r})",
    }
    # The data change when the launch has planned and its job has not begun.
    (tmp_path / "sitecustomize.py").write_text(
        f"import sys\nif 'hala_hpc.jobs.attempt' in sys.orig_argv:\n    {changes[change]}\n"
    )
    done = launch(*arguments, PYTHONPATH=str(tmp_path))
    assert done.code == 66, done
    assert str(named) in done.err
    assert not list((tmp_path / "work").glob("first-*/summary.json"))


@pytest.mark.parametrize("when", ["before the launch", "before the job"])
def test_a_result_of_another_run_is_not_taken_by_path_when_a_part_is_missing(
    tmp_path: Path, when: str
) -> None:
    """As a corpus of two parts of which one is lost reads like a smaller corpus."""
    first = ["stage=english", write_stand_in_recipe(tmp_path, ROWS), f"work={tmp_path / 'first'}"]
    assert launch(*first, "english.units=2").code == 0
    corpus = tmp_path / "first" / "latest" / "english" / "output"
    lost = part(tmp_path / "first", 1, name="english")
    if when == "before the launch":
        lost.unlink()
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        f"if 'hala_hpc.jobs.attempt' in sys.orig_argv and os.path.exists({str(lost)!r}):\n"
        f"    os.unlink({str(lost)!r})\n"
    )
    arguments = ["stage=arabic", first[1], f"work={tmp_path / 'second'}", f"arabic.corpus={corpus}"]
    variables: dict[str, Any] = standin_variables()
    path = f"{tmp_path}{os.pathsep}{variables['PYTHONPATH']}"
    refused = launch(*arguments, **{**variables, "PYTHONPATH": path})
    assert refused.code == 66, refused
    assert "Traceback" not in refused.err
    assert str(corpus.resolve()) in refused.err
    (tmp_path / "sitecustomize.py").unlink()
    assert launch(*first, "english.units=2").code == 0
    done = launch(*arguments, **variables)
    assert done.code == 0, done
    assert rows_on_disk(tmp_path / "second", "arabic") == ROWS
