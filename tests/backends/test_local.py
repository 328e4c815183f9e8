"""Jobs as processes of this machine: the launcher's shell lines run before each of them."""

import json
import sys
from pathlib import Path

from hala_hpc.backends.local import run_element
from hala_hpc.core.job import Job
from hala_hpc.core.resources import Resources

#: Writes down what a rank sees.
PROGRAM = """
import json, os, sys
names = ("FROM_SETUP", "OVERRIDDEN", "RANK", "WORLD_SIZE", "HALA_JOB_ID")
seen = {name: os.environ.get(name, "") for name in names}
with open(f"{sys.argv[1]}/seen-{seen['RANK']}.json", "w") as file:
    json.dump({**seen, "arguments": sys.argv[2:]}, file)
"""


def job(folder: Path, *setup: str) -> Job:
    (folder / "told_program.py").write_text(PROGRAM)
    return Job(
        name="test",
        module="told_program",
        words=(str(folder), "a word with blanks"),
        python=sys.executable,
        resources=Resources(ranks_per_node=2),
        folder=folder,
        elements=1,
        environment={"PYTHONPATH": str(folder), "OVERRIDDEN": "by the job"},
        setup=setup,
    )


def test_the_setup_lines_of_a_launcher_run_before_each_rank(tmp_path: Path) -> None:
    lines = ("export FROM_SETUP='loaded once'", "export OVERRIDDEN=setup")
    assert run_element(job(tmp_path, *lines), 0, lambda: None) == 0
    ranks = [json.loads((tmp_path / f"seen-{rank}.json").read_text()) for rank in range(2)]
    assert [rank["FROM_SETUP"] for rank in ranks] == ["loaded once"] * 2
    assert [rank["OVERRIDDEN"] for rank in ranks] == ["by the job"] * 2
    assert [rank["RANK"] for rank in ranks] == ["0", "1"]
    assert len({rank["HALA_JOB_ID"] for rank in ranks}) == 1
    assert ranks[0]["arguments"] == ["a word with blanks", "0"]


def test_a_setup_line_that_fails_ends_the_job_before_its_program(tmp_path: Path) -> None:
    assert run_element(job(tmp_path, "false"), 0, lambda: None) != 0
    assert not list(tmp_path.glob("seen-*"))


def test_without_setup_lines_the_program_is_the_process_itself(tmp_path: Path) -> None:
    assert run_element(job(tmp_path), 0, lambda: None) == 0
    assert json.loads((tmp_path / "seen-1.json").read_text())["FROM_SETUP"] == ""
