"""The function and the line of docs/adding-a-check.md make a check."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from checkout import ROOT
from documented_code import documented_code

from benchmarks.common.waiting import WAIT_S

FUNCTION = "hala_hpc/data/checks/questions.py"
LINE = "one line of CHECKS"
TEST = "tests/data/checks/test_questions.py"
SETTINGS = "hala_hpc/data/checks/settings.py"


def test_one_function_and_one_line_make_a_check(tmp_path: Path) -> None:
    blocks = documented_code("adding-a-check.md")
    assert set(blocks) == {FUNCTION, LINE, TEST}
    shutil.copytree(
        ROOT / "hala_hpc", tmp_path / "hala_hpc", ignore=shutil.ignore_patterns("__pycache__")
    )
    (tmp_path / FUNCTION).write_text(blocks[FUNCTION], encoding="utf-8")
    settings = (tmp_path / SETTINGS).read_text(encoding="utf-8")
    changed = settings.replace("CHECKS = {\n", f"CHECKS = {{\n{blocks[LINE]}")
    assert changed != settings
    (tmp_path / SETTINGS).write_text(changed, encoding="utf-8")
    test = tmp_path / Path(TEST).name
    test.write_text(blocks[TEST], encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test.name],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout
