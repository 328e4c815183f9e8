"""A disk that fills up: one clear error, nothing lost, and the same command resumes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command_line import launch, recipe
from held import JobHold
from slow_run import standin_variables, write_stand_in_recipe
from small_disks import fill_disk, small_disk
from tiny_models import untrained_model

from benchmarks.common.waiting import WAIT_S, wait_until
from hala_hpc.core.errors import CANNOT_CREATE

ROWS = 60
STEPS = 4
#: Room for what a training writes beside checkpoints and its model, which are larger.
LEFT_BYTES = 800_000
TRAINING = """
[rows]
stage = "prepare"
data = "{base}/rows.jsonl"
units = 1
resources = {{ cpus_per_rank = 1, mem_gb = 1 }}
[tok]
stage = "tokenize"
model = "{model}"
train = "@rows"
objective = "chat"
max_length = 128
units = 1
held_out = 0
resources = {{ cpus_per_rank = 1, mem_gb = 1 }}
[tuned]
stage = "sft"
model = "{model}"
tokens = "@tok"
max_steps = 4
global_batch_size = 4
micro_batch_tokens = 256
save_steps = {save_steps}
save_every_min = 0
zero_stage = {zero_stage}
resources = {{ cpus_per_rank = 1, mem_gb = 2, gpus_per_node = 0 }}
"""


@pytest.mark.slow
def test_a_disk_that_fills_up_while_rows_are_translated_is_reported_and_loses_nothing(
    tmp_path: Path,
) -> None:
    held = JobHold(tmp_path, after=80)
    arguments = ["stage=arabic", write_stand_in_recipe(tmp_path, ROWS)]
    # Texts of one length are asked row by row, so that some rows are finished before others.
    with (tmp_path / "rows.jsonl").open("w") as file:
        for number in range(ROWS):
            texts = {"instruction": f"Who is {number:03d}?", "output": f"Man is {number:03d}!"}
            file.write(json.dumps(texts) + "\n")
    with small_disk(tmp_path / "disk", 8) as disk:
        arguments.append(f"work={disk / 'work'}")
        running = subprocess.Popen(
            [sys.executable, "-m", "hala_hpc.launch", *arguments],
            env={**os.environ, **standin_variables(0.05, held)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        journal_dir = disk / "work" / "latest" / "arabic" / "kept"
        wait_until(lambda: any(journal_dir.glob("*/piece-*")), "the first rows")
        filler = fill_disk(disk)
        held.release()
        output, _ = running.communicate(timeout=WAIT_S)
        assert running.returncode == CANNOT_CREATE, output
        assert "free space on this disk" in output
        assert "Traceback" not in output
        filler.unlink()
        variables: dict[str, Any] = standin_variables()
        again = launch(*arguments, **variables)
        assert again.code == 0, again
        summary = json.loads((disk / "work/latest/arabic/summary.json").read_text())
        assert (summary["rows_in"], summary["rows_out"]) == (ROWS, ROWS)
        assert count_rows(disk / "work/latest/arabic/output") == ROWS
        assert list((disk / "work").rglob("*.tmp")) == []


def count_rows(output: Path) -> int:
    import pyarrow.parquet as pq

    return sum(pq.read_metadata(part).num_rows for part in output.glob("*.parquet"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "zero_stage"),
    [
        pytest.param("checkpoint", 0, marks=pytest.mark.long),
        pytest.param("checkpoint", 2, marks=pytest.mark.long),
        pytest.param("model", 0, marks=pytest.mark.long),
    ],
)
def test_a_disk_that_is_full_when_a_training_saves_ends_it_at_once_and_loses_nothing(
    tmp_path: Path, what: str, zero_stage: int
) -> None:
    model = untrained_model(tmp_path)
    lines = [
        json.dumps({"instruction": f"Who is {number}?", "output": f"Man {number}."})
        for number in range(ROWS)
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines) + "\n")
    every = 2 if what == "checkpoint" else 100
    text = TRAINING.format(base=tmp_path, model=model, save_steps=every, zero_stage=zero_stage)
    with small_disk(tmp_path / "disk", 24) as disk:
        work = disk / "work"
        arguments = [recipe(tmp_path, text), f"work={work}", "launcher=local"]
        assert launch("stage=tok", *arguments).code == 0
        filler = fill_disk(disk)
        os.truncate(filler, filler.stat().st_size - LEFT_BYTES)
        ended = launch("stage=all", *arguments)
        assert ended.code == CANNOT_CREATE, ended
        assert "free space on this disk" in ended.err
        assert "Traceback" not in ended.out + ended.err
        tuned = (work / "latest" / "tuned").resolve()
        assert len(list(tuned.glob("attempts/r*-error-0.json"))) == 1, "it was not tried again"
        assert not list(tuned.glob("kept/*/.staging/*"))
        assert not list(tuned.glob("attempts/*/"))
        filler.unlink()
        again = launch("stage=all", *arguments)
        assert again.code == 0, again
        summary = json.loads((tuned / "summary.json").read_text())
        assert summary["details"]["steps"] == STEPS
        assert (tuned / "output" / "model.safetensors").stat().st_size > LEFT_BYTES
