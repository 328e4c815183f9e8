"""The page about flags of sbatch: its launcher and its lines change what a dry run prints."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import ROOT
from documented_code import documented_code

from benchmarks.common.waiting import WAIT_S
from hala_hpc.backends.slurm.sbatch import ALLOWED_OPTIONS, EXTRA_OPTIONS

PAGE = "changing-an-sbatch-flag.md"
SBATCH = "hala_hpc/backends/slurm/sbatch.py"
#: Where the lines of the page are put: in front of what stands there.
PLACES = {
    "one line of ALLOWED_OPTIONS": '    *("account", ',
    "one line of sbatch_flags": '        "open-mode": "append",\n',
}


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with the code of the project and the launcher of the page."""
    for name in ("hala_hpc", "slurm"):
        shutil.copytree(
            ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "rig")
        )
    (tmp_path / "my-site.toml").write_text(documented_code(PAGE)["my-site.toml"])
    return tmp_path


def workers_of(site: Path, node: str) -> str:
    """What the command of the page prints for the workers of a node."""
    python, *arguments = shlex.split(documented_code(PAGE)["dry run"])
    assert python == "python"
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=site,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.partition(f"# ---- {node}: workers\n")[2].partition("# ----")[0]


def test_the_launcher_of_the_page_sets_flags_by_stage_and_node(site: Path) -> None:
    merge, sft = workers_of(site, "merge-t0.5"), workers_of(site, "sft")
    for flag in ("--partition=gpu", "--account=my-project", "--constraint=bigmem", "--qos=normal"):
        assert f"    {flag} \\\n" in merge
    assert "--qos=long" in sft
    assert "--mem=" not in merge + sft


def test_a_line_of_the_page_allows_another_option_and_one_sets_a_flag(site: Path) -> None:
    blocks = documented_code(PAGE)
    assert set(blocks) == {"my-site.toml", "dry run", *PLACES}
    code = (site / SBATCH).read_text(encoding="utf-8")
    for line, place in PLACES.items():
        assert code.count(place) == 1
        code = code.replace(place, blocks[line] + place)
    (site / SBATCH).write_text(code, encoding="utf-8")
    with (site / "my-site.toml").open("a") as launcher:
        launcher.write('[stage.merge.resources.options]\nthread_spec = "2"\n')
    merge = workers_of(site, "merge-t0.5")
    assert "    --thread-spec=2 \\\n" in merge
    assert "    --hint=nomultithread \\\n" in merge


def test_the_table_of_the_page_has_every_option() -> None:
    text = (ROOT / "docs" / PAGE).read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    found = set(re.findall(r"`([a-z_]+)`", "\n".join(rows)))
    options = {name.replace("-", "_") for name in (*ALLOWED_OPTIONS, *EXTRA_OPTIONS)}
    assert found == options
