"""A worker that is preempted before our code starts: SLURM requeues it, nothing else happens."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from checkout import ROOT
from command_line import launch, recipe, run_command
from held import minislurm_launcher

from benchmarks.common.waiting import WAIT_S, wait_until

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.usefixtures("minislurm"),
]
#: The first start of a worker takes long, as on a slow file system, and writes its node.
SLOW_START = """
import os, sys, time
if "hala_hpc.worker" in sys.orig_argv and not os.path.exists({began!r}):
    with open({began!r}, "w") as file:
        file.write(os.environ["SLURMD_NODENAME"])
    time.sleep(60)
"""


def command_output(*arguments: str) -> str:
    done = subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=WAIT_S)
    return done.stdout.strip()


#: The first gate has lines of its own that outlast the grace of its partition, 5 s, and not the
#: time after it until SLURM kills, 5 s: srun is refused a step then.
SLOW_SETUP = (
    "if [[ $SLURM_JOB_NAME == gate-* && ! -e {began} ]]; "
    "then echo $SLURMD_NODENAME > {began}; sleep 8; fi"
)


def take(node: str) -> None:
    """Preempt a node for a moment: SIGTERM, the grace time of the partition, SIGKILL, requeue."""
    taker = ["-p", "high", "-w", node, "--exclusive", "-t", "1", "-o", "/dev/null"]
    command_output("sbatch", *taker, "--wrap", "sleep 1")


def one_corpus(folder: Path) -> str:
    """The override for a recipe of one small node."""
    (folder / "rows.jsonl").write_text('{"instruction": "Say hello.", "output": "Hello."}\n')
    return recipe(
        folder,
        f'[corpus]\nstage = "prepare"\ndata = "{folder}/rows.jsonl"\nunits = 1\n'
        "resources = { cpus_per_rank = 1, mem_gb = 1 }\n",
    )


def require_done_in_one_round(work: Path) -> None:
    """Wait for the end of the node, which must succeed."""

    def state() -> str:
        result = run_command(f"work={work}", "format=json", module="status")
        return str(json.loads(result.out)["nodes"][0]["state"])

    wait_until(lambda: state() not in ("running", "waiting"), "the end of the node", pause_s=1)
    assert state() == "done", run_command(f"work={work}", module="logs")
    summary = json.loads((work / "latest/corpus/summary.json").read_text())
    assert summary["rounds"] == 1, "it was requeued, not submitted again"


def test_a_worker_that_is_preempted_while_it_starts_is_requeued_and_no_mistake_of_the_set_up(
    tmp_path: Path, work: Path
) -> None:
    site, began = tmp_path / "slow", tmp_path / "began"
    site.mkdir()
    (site / "sitecustomize.py").write_text(SLOW_START.format(began=str(began)))
    path = os.pathsep.join([str(site), str(ROOT)])
    launcher = minislurm_launcher(tmp_path, {"PYTHONPATH": path})
    assert launch("stage=all", one_corpus(tmp_path), f"work={work}", launcher).code == 0
    wait_until(began.exists, "the start of the worker", pause_s=0.2)
    take(wait_until(began.read_text, "the name of its node"))
    require_done_in_one_round(work)


def test_a_gate_that_is_preempted_before_srun_starts_it_is_requeued_and_ends_no_chain(
    tmp_path: Path, work: Path
) -> None:
    began = tmp_path / "began"
    path = tmp_path / "slow-setup.toml"
    shipped = (ROOT / "launchers" / "minislurm.toml").read_text()
    setup = json.dumps([SLOW_SETUP.format(began=began)])
    path.write_text(shipped.replace('backend = "slurm"', f'backend = "slurm"\nsetup = {setup}', 1))
    arguments = ["stage=all", one_corpus(tmp_path), f"work={work}", f"launcher={path}"]
    assert launch(*arguments).code == 0
    wait_until(began.exists, "the start of the gate", pause_s=0.2)
    take(wait_until(began.read_text, "the name of its node").strip())
    require_done_in_one_round(work)
    printed = (work / "latest/corpus").resolve().glob("logs/job-*.out")
    assert any("srun started nothing" in path.read_text() for path in printed)
