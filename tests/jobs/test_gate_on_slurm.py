"""A node that fails on a real SLURM: told why, and nothing waits for it for ever."""

import json
import subprocess
from pathlib import Path

import pytest
from command_line import command, launch, recipe
from held import Held, minislurm_launcher

from benchmarks.common.waiting import WAIT_S, wait_until
from hala_hpc.core.errors import FailureClass

pytestmark = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.usefixtures("minislurm")]


def states(work: Path) -> dict[str, str]:
    told = command(f"work={work}", "format=json", module="status")
    return {node["name"]: node["state"] for node in json.loads(told.out)["nodes"]}


def test_bad_data_fails_its_node_and_cancels_who_waits(tmp_path: Path, work: Path) -> None:
    rows = '{"instruction": "Say hello.", "output": "Hello."}\n' + "{broken\n" * 9
    (tmp_path / "rows.jsonl").write_text(rows)
    line = recipe(
        tmp_path,
        f'[corpus]\nstage = "prepare"\ndata = "{tmp_path}/rows.jsonl"\n'
        "[corpus.resources]\ncpus_per_rank = 1\nmem_gb = 1\n"
        '[report]\nnodes = ["@corpus"]\n',
    )
    held = Held(tmp_path)
    launcher = minislurm_launcher(tmp_path, held.variables)
    ended = launch("stage=all", line, f"work={work}", launcher)
    assert ended.code == 0, ended
    assert set(states(work).values()) <= {"waiting", "running"}
    held.let_go()
    wait_until(
        lambda: not set(states(work).values()) & {"waiting", "running"},
        "the end of both nodes",
        pause_s=1,
        state=lambda: states(work),
    )
    assert states(work) == {"corpus": "failed", "report": "failed"}
    failure = json.loads((work / "latest/corpus/failure.json").read_text())
    assert failure["code"] == 65
    assert "9" in failure["reasons"][0]["text"]
    waited = json.loads((work / "latest/report/failure.json").read_text())
    (reason,) = waited["reasons"]
    assert reason["kind"] == FailureClass.SECONDARY
    assert reason["text"] == "corpus, which it waits for, was not finished"
    assert len(list((work / "latest/report/rounds").iterdir())) == 1
    jobs = json.loads((work / "latest/report/jobs.json").read_text())
    ends = subprocess.run(
        [
            "sacct",
            "--noheader",
            "--allocations",
            "--parsable2",
            "--format=State",
            f"--jobs={jobs['workers']}",
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=WAIT_S,
    )
    assert ends.stdout.startswith("CANCELLED")


def test_a_job_that_slurm_refuses_leaves_nothing_behind(tmp_path: Path, work: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"instruction": "Say hello.", "output": "Hello."}\n')
    line = recipe(tmp_path, f'[corpus]\nstage = "prepare"\ndata = "{tmp_path}/rows.jsonl"\n')
    ended = launch(
        "stage=all",
        line,
        f"work={work}",
        "launcher=minislurm",
        "corpus.resources.options.partition=nowhere",
    )
    assert ended.code == 78, ended
    assert "partition" in ended.err
    assert not work.exists()
