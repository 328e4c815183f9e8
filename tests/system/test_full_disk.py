"""A disk that fills up: one clear error, nothing lost, and the same line goes on."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command_line import launch
from held import Held
from slow_run import recipe_word, standin_variables
from small_disks import fill, small_disk

from benchmarks.common.waiting import WAIT_S, wait_until
from hala_hpc.core.errors import CANNOT_CREATE

ROWS = 60


@pytest.mark.slow
def test_a_disk_that_fills_up_while_rows_are_translated_is_told_and_loses_nothing(
    tmp_path: Path,
) -> None:
    held = Held(tmp_path, after=80)
    line = ["stage=arabic", recipe_word(tmp_path, ROWS)]
    # Texts of one length are asked row by row, so that some rows are finished before others.
    with (tmp_path / "rows.jsonl").open("w") as file:
        for number in range(ROWS):
            texts = {"instruction": f"Who is {number:03d}?", "output": f"Man is {number:03d}!"}
            file.write(json.dumps(texts) + "\n")
    with small_disk(tmp_path / "disk", 8) as disk:
        line.append(f"work={disk / 'work'}")
        running = subprocess.Popen(
            [sys.executable, "-m", "hala_hpc.launch", *line],
            env={**os.environ, **standin_variables(0.05, held)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        kept = disk / "work" / "latest" / "arabic" / "kept"
        wait_until(lambda: any(kept.glob("*/piece-*")), "the first rows")
        filler = fill(disk)
        held.let_go()
        told, _ = running.communicate(timeout=WAIT_S)
        assert running.returncode == CANNOT_CREATE, told
        assert "make room" in told
        assert "Traceback" not in told
        filler.unlink()
        variables: dict[str, Any] = standin_variables()
        again = launch(*line, **variables)
        assert again.code == 0, again
        summary = json.loads((disk / "work/latest/arabic/summary.json").read_text())
        assert (summary["rows_in"], summary["rows_out"]) == (ROWS, ROWS)
        assert count_rows(disk / "work/latest/arabic/output") == ROWS
        assert list((disk / "work").rglob("*.tmp")) == []


def count_rows(output: Path) -> int:
    import pyarrow.parquet as pq

    return sum(pq.read_metadata(part).num_rows for part in output.glob("*.parquet"))
