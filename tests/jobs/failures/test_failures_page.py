"""The page about failures is made from POLICY, and its example changes what follows from one."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from checkout import ROOT
from documented_code import documented_code

from benchmarks.common.waiting import WAIT_S
from hala_hpc.core.errors import FailureClass

LINE = "the line of TIMEOUT in hala_hpc/jobs/failures/policy.py"
TEST = "tests/jobs/failures/test_short_jobs.py"
POLICY_FILE = "hala_hpc/jobs/failures/policy.py"


def run(*arguments: str, cwd: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(cwd)},
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )


def test_the_table_of_the_page_is_that_of_the_policy() -> None:
    done = run("docs/failures_table.py", "check")
    assert done.returncode == 0, "python docs/failures_table.py writes it again"


def test_every_class_is_on_the_page() -> None:
    text = (ROOT / "docs" / "failures.md").read_text(encoding="utf-8")
    assert [kind for kind in FailureClass if f"| `{kind}`: " not in text] == []


def test_one_line_changes_what_follows_from_a_class(tmp_path: Path) -> None:
    blocks = documented_code("failures.md")
    assert set(blocks) == {LINE, TEST}
    shutil.copytree(
        ROOT / "hala_hpc", tmp_path / "hala_hpc", ignore=shutil.ignore_patterns("__pycache__")
    )
    test = tmp_path / Path(TEST).name
    test.write_text(blocks[TEST], encoding="utf-8")
    command = ("-m", "pytest", "-q", "-p", "no:cacheprovider", test.name)
    before = run(*command, cwd=tmp_path)
    assert "1 failed" in before.stdout
    lines = (tmp_path / POLICY_FILE).read_text(encoding="utf-8").splitlines(keepends=True)
    (place,) = [i for i, line in enumerate(lines) if line.startswith("    FailureClass.TIMEOUT: ")]
    lines[place] = blocks[LINE]
    (tmp_path / POLICY_FILE).write_text("".join(lines), encoding="utf-8")
    after = run(*command, cwd=tmp_path)
    assert "1 passed" in after.stdout, after.stdout
