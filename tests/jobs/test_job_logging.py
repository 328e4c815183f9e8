"""Each log line of a job has time, node and attempt; no other logger is configured."""

import json
import os
import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path

from checkout import STANDIN
from command_line import launch, one_row_recipe, run_command

from benchmarks.common.waiting import WAIT_S
from hala_hpc.core.artifact import Artifact
from hala_hpc.jobs.log_file import list_log_parts

LINE = re.compile(
    r"(?P<time>\S+) (?P<level>[A-Z]+) (?P<node>\S+) rank (?P<rank>\d+) (?P<attempt>\S+) "
    r"(?P<module>hala_hpc\.\S+): (?P<text>.*)"
)


def lines_of(text: str) -> list[dict[str, str]]:
    """The lines of a text that a job logged, each in its parts."""
    return [found.groupdict() for line in text.splitlines() if (found := LINE.fullmatch(line))]


def test_a_line_names_moment_node_rank_attempt_and_module(tmp_path: Path, work: Path) -> None:
    result = launch("stage=all", one_row_recipe(tmp_path), f"work={work}")
    assert result.code == 0, result
    log = Artifact(work / "latest/corpus").log_file(0, 0)
    (part,) = list_log_parts(log)
    first = lines_of(log.read_text())[0]
    assert (first["attempt"], first["node"], first["rank"]) == (part.attempt, part.host, "0")
    assert (first["level"], first["module"]) == ("INFO", "hala_hpc.jobs.attempt")
    assert first["text"].startswith("1 units to do")
    moment = datetime.fromisoformat(first["time"])
    assert moment.tzinfo is not None
    began = datetime.strptime(part.began, "%Y-%m-%d %H:%M:%S").astimezone()
    assert 0 <= (moment - began).total_seconds() < WAIT_S


def test_a_defect_is_logged_with_its_traceback_and_printed_by_logs(
    tmp_path: Path, work: Path
) -> None:
    arguments = ("stage=all", one_row_recipe(tmp_path), f"work={work}")
    result = launch(*arguments, HALA_FAULT="defect", PYTHONPATH=str(STANDIN))
    assert result.code == 70, result
    printed = run_command(f"work={work}", module="logs").out
    defect, reason = [one for one in lines_of(printed) if one["level"] == "ERROR"][-2:]
    assert defect["text"] == "defect: unexpected exception"
    assert reason["text"].startswith("ZeroDivisionError: ")
    between = printed[printed.index(defect["time"]) : printed.index(reason["time"])]
    assert "Traceback (most recent call last)" in between


def test_a_rank_of_a_scheduled_job_logs_its_number_and_node(tmp_path: Path) -> None:
    arguments = [str(tmp_path / "nothing"), "0", "r0002-w00000-12_0-1"]
    done = subprocess.run(
        [sys.executable, "-m", "hala_hpc.jobs.attempt", *arguments],
        env={**os.environ, "RANK": "3", "HALA_NODE": "node7"},
        capture_output=True,
        text=True,
        check=False,
        timeout=WAIT_S,
    )
    first = lines_of(done.stderr)[0]
    assert (first["level"], first["node"], first["rank"]) == ("ERROR", "node7", "3")
    assert first["attempt"] == arguments[-1]


def test_other_loggers_stay_as_they_are_and_an_import_sets_up_none() -> None:
    code = """
import json, logging
import hala_hpc.gate, hala_hpc.jobs.attempt, hala_hpc.launch, hala_hpc.worker
from hala_hpc.jobs.job_logging import set_up_logging
def state(name):
    logger = logging.getLogger(name)
    return [logger.level, len(logger.handlers), logger.disabled, logger.propagate]
names = [None, "vllm", "transformers", "hala_hpc"]
before = [state(name) for name in names]
set_up_logging()
set_up_logging("r0001-w00000-12-0")
print(json.dumps([before, [state(name) for name in names]]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = json.loads(done.stdout)
    assert before[-1] == [0, 0, False, True], "the import sets up nothing"
    assert after[:-1] == before[:-1]
    assert after[-1][1] == 1, "one handler, however often it is set up"
