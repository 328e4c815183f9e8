"""A node that fails on a real SLURM: told why, and nothing waits for it for ever."""

import json
import subprocess
import time
from pathlib import Path

import pytest
from command_line import command, launch, recipe

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
    ended = launch("stage=all", line, f"work={work}", "launcher=minislurm")
    assert ended.code == 0, ended
    assert set(states(work).values()) <= {"waiting", "running"}
    deadline = time.monotonic() + 90
    while set(states(work).values()) & {"waiting", "running"}:
        assert time.monotonic() < deadline, states(work)
        time.sleep(1)
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
