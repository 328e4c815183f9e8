"""The memory of a worker is bounded: it does not grow with answers, or with shards."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.common.waiting import WAIT_S

HELD_MB = """
import os, sys
def held_mb():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
"""
ANSWERS = """
from hala_hpc.engines.generation.answer_cache import AnswerCache, compute_answer_key
from hala_hpc.engines.generation.row_program import Answer, Prompt
answers, before = AnswerCache(), held_mb()
for number in range(20_000):
    answers.put(compute_answer_key(Prompt(str(number))), Answer("x" * 3000))
assert answers.get(compute_answer_key(Prompt("7"))) == Answer("x" * 3000)
print(held_mb() - before)
"""
SHARDS = """
from pathlib import Path
from hala_hpc.core.environment import set_job_environment
set_job_environment()
from hala_hpc.data.corpus.reader import part_name, read_part
from hala_hpc.data.corpus.writer import CorpusWriter
path = Path(sys.argv[1]) / part_name(0)
def write_and_read(rows):
    with CorpusWriter(path, "pairs") as writer:
        for number in range(rows):
            row = {"id": f"{number:032x}", "origin": "test", "source": "row " * 99}
            writer.add({**row, "target": f"صفّ {number} " * 99})
    assert sum(1 for _ in read_part(path)) == rows
write_and_read(250)
before = held_mb()
for _ in range(6):
    write_and_read(2500)
print(held_mb() - before)
"""


def grown_mb(script: str, *arguments: str) -> float:
    """What a script prints, in a process of its own."""
    command = [sys.executable, "-c", HELD_MB + script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=WAIT_S)
    return float(done.stdout)


@pytest.mark.slow
def test_memory_does_not_grow_with_answers() -> None:
    # 60 MB of them.
    assert grown_mb(ANSWERS) < 12


@pytest.mark.slow
def test_memory_does_not_grow_with_shards(tmp_path: Path) -> None:
    # 65 with the allocator that pyarrow takes when nothing is set.
    assert grown_mb(SHARDS, str(tmp_path)) < 45
