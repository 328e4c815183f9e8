"""The sbatch templates by plain sbatch on a real SLURM, where no launch ever ran; and `render=`."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from checkout import ROOT
from command_line import launch, run_command

from benchmarks.common.waiting import WAIT_S, wait_until

pytestmark = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.usefixtures("minislurm")]
#: What the small jobs here request.
SMALL = ("--partition=low", "--mem=400M", "--cpus-per-task=1", "--time=10")
LAUNCHER = """
backend = "slurm"
[resources]
cpus_per_rank = 1
mem_gb = 1
timeout_min = 10
options.partition = "low"
[gate]
mem_gb = 1
timeout_min = 10
options.partition = "low"
[environment]
HALA_DEVICE = "cpu"
"""


def give(command: tuple[str, ...], folder: Path) -> "subprocess.CompletedProcess[str]":
    """Give a command in a folder that is no clone, as one who has set where the clone is."""
    environment = {"HALA_HOME": str(ROOT), "HALA_PYTHON": sys.executable}
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=WAIT_S,
    )


def slurm(*command: str, folder: Path) -> str:
    """What a command prints that ends well."""
    done = give(command, folder)
    assert done.returncode == 0, done
    return done.stdout.strip()


def template(name: str) -> str:
    return str(ROOT / "slurm" / f"{name}.sbatch")


def run_template(folder: Path, name: str, *arguments: str, flags: tuple[str, ...] = ()) -> int:
    """Submit a template and wait for its end; the worst exit code of its elements."""
    return give(("sbatch", "--wait", *SMALL, *flags, template(name), *arguments), folder).returncode


def printed(folder: Path) -> str:
    return "\n".join(path.read_text() for path in sorted(folder.glob("hala-*.out")))


def idle(folder: Path) -> bool:
    return not slurm("squeue", "--noheader", f"--user={os.getuid()}", folder=folder)


def rows_file(folder: Path, count: int = 40) -> Path:
    path = folder / "rows.jsonl"
    rows = [{"instruction": f"Say {n}.", "output": f"It is {n}."} for n in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def launcher_file(folder: Path) -> str:
    path = folder / "site.toml"
    path.write_text(LAUNCHER)
    return f"launcher={path}"


def summary(work: Path, node: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((work / "latest" / node / "summary.json").read_text())
    return found


def test_settings_alone_make_what_a_launch_makes(tmp_path: Path, work: Path) -> None:
    arguments = (f"data={rows_file(tmp_path)}", "units=4", f"work={work}", launcher_file(tmp_path))
    assert run_template(tmp_path, "prepare", *arguments, flags=("--array=0-1",)) == 0, printed(
        tmp_path
    )
    artifact = (work / "latest/prepare").resolve()
    first = json.loads((artifact / "rounds/0001.json").read_text())
    assert [len(units) for units in first["assignment"]] == [2, 2]
    assert run_template(tmp_path, "gate", "stage=prepare", *arguments) == 0, printed(tmp_path)
    recipe = f"recipe={work}/prepare.toml"
    own = tuple(f"prepare.{argument}" for argument in arguments[:2])
    ended = launch("stage=all", recipe, *own, arguments[2], arguments[3])
    assert (ended.code, "nothing to submit" in ended.out) == (0, True), ended
    other = tmp_path / "launched"
    ended = launch("stage=all", recipe, *own, f"work={other}", "launcher=local")
    assert ended.code == 0, ended
    same = ("fingerprint", "rows_in", "rows_out", "sha256")
    by_hand, launched = summary(work, "prepare"), summary(other, "prepare")
    assert {name: by_hand[name] for name in same} == {name: launched[name] for name in same}


@pytest.mark.long
def test_a_gate_by_hand_reports_and_submits_nothing(tmp_path: Path, work: Path) -> None:
    arguments = (f"data={rows_file(tmp_path)}", "units=2", f"work={work}", launcher_file(tmp_path))
    assert run_template(tmp_path, "prepare", *arguments) == 0, printed(tmp_path)
    artifact = (work / "latest/prepare").resolve()
    (artifact / "done/00001.json").unlink()
    assert run_template(tmp_path, "gate", "stage=prepare", *arguments) == 75
    assert "nothing was submitted" in printed(tmp_path)
    assert idle(tmp_path)
    by_path = run_command(str(work / "latest/prepare"), module="gate")
    assert (by_path.code, "nothing was submitted" in by_path.err) == (75, True), by_path
    assert [path.name for path in (artifact / "rounds").iterdir()] == ["0001.json"]
    assert run_template(tmp_path, "prepare", *arguments) == 0, printed(tmp_path)
    assert run_template(tmp_path, "gate", "stage=prepare", *arguments) == 0, printed(tmp_path)
    assert summary(work, "prepare")["rows_in"] == 40


def test_numbers_of_an_array_with_a_gap_are_refused(tmp_path: Path, work: Path) -> None:
    arguments = (f"data={rows_file(tmp_path)}", "units=4", f"work={work}", launcher_file(tmp_path))
    assert run_template(tmp_path, "prepare", *arguments, flags=("--array=1-2",)) == 64
    assert "--array=0-1" in printed(tmp_path)
    assert not list(work.glob("prepare-*"))


CHAIN = """
[corpus]
stage = "prepare"
data = "{data}"
units = 2
[again]
like = "corpus"
drop_code = "fenced"
[report]
nodes = ["@corpus", "@again"]
"""


def chain(folder: Path, work: Path) -> None:
    """Submit all nodes of the recipe as a chain, and wait until nothing is left of it."""
    recipe = folder / "chain.toml"
    recipe.write_text(CHAIN.format(data=folder / "rows.jsonl"))
    arguments = (f"recipe={recipe}", "stage=all", launcher_file(folder), f"work={work}")
    slurm("bash", template("chain"), *arguments, folder=folder)
    wait_until(lambda: idle(folder), "the end of a chain", pause_s=1)


def test_a_chain_ends_after_a_failed_link_and_resumes_when_it_is_repaired(
    tmp_path: Path, work: Path
) -> None:
    good = '{"instruction": "Say hello.", "output": "Hello."}\n'
    (tmp_path / "rows.jsonl").write_text(good + "{broken\n" * 9)
    chain(tmp_path, work)
    assert not list(work.glob("report-*/summary.json"))
    assert list(work.glob("corpus-*/failure.json"))
    rows_file(tmp_path)
    chain(tmp_path, work)
    assert len(list(work.glob("report-*/summary.json"))) == 1, printed(tmp_path)
    found = list(work.glob("corpus-*/summary.json"))
    assert [json.loads(path.read_text())["rows_in"] for path in found] == [40]


#: What two submissions of one job differ in: ids, keys, times, folders, and what SLURM drew.
OF_ITS_OWN = re.compile(
    r"^(JobId|JobName|ArrayJobId|.*Time|Dependency|Command|WorkDir|StdErr|StdOut|Priority|"
    r"JobState|Reason|NodeList|BatchHost|AllocTRES|.*NodeList|SubmitLine|RunTime|LastSchedEval|"
    r"Scheduler|ExitCode|Restarts|AllocNode:Sid|NumNodes|NumCPUs|.*Socket.*)$"
)


def shown(number: str, folder: Path) -> dict[str, str]:
    """What `scontrol show job` prints about a job, without what is its own."""
    shown_job = slurm("scontrol", "show", "job", number, folder=folder)
    pairs = (field.partition("=")[::2] for field in shown_job.split() if "=" in field)
    return {name: value for name, value in pairs if not OF_ITS_OWN.match(name)}


def script(number: str, folder: Path) -> str:
    return slurm("scontrol", "write", "batch_script", number, "-", folder=folder)


def jobs_of(folder: Path) -> dict[str, str]:
    """Number of each job in the queue by its name without fingerprint and key."""
    listing = slurm("squeue", "--noheader", "--format=%F %j", folder=folder)
    found = (line.split() for line in listing.splitlines())
    return {re.sub(r"-[0-9a-f]{8,}", "", name): number for number, name in found}


def test_what_is_rendered_is_what_a_launch_submits(tmp_path: Path, work: Path) -> None:
    rows_file(tmp_path)
    recipe = tmp_path / "chain.toml"
    recipe.write_text(CHAIN.format(data=tmp_path / "rows.jsonl"))
    launcher = launcher_file(tmp_path)
    # Queued and not started, so that both can be looked at.
    begin = "resources.options.begin=now+1hour"
    later = tuple(f"{stage}.{begin}" for stage in ("prepare", "report"))
    arguments = (f"recipe={recipe}", "stage=all", launcher)
    rendered = tmp_path / "rendered"
    ended = launch(*arguments, *later, f"work={work}", f"render={rendered}")
    assert ended.code == 0, ended
    assert idle(tmp_path)
    assert sorted(path.name for path in rendered.iterdir()) == [
        *("01-corpus.sh", "02-again.sh", "03-report.sh", "README.md", "job.sbatch", "submit.sh")
    ]
    slurm("bash", str(rendered / "submit.sh"), folder=tmp_path)
    by_hand = jobs_of(tmp_path)
    submitted = {name: (shown(n, tmp_path), script(n, tmp_path)) for name, n in by_hand.items()}
    assert len(submitted) == 6
    known = launch(*arguments, *later, f"work={work}")
    assert known.out.count("are queued or running") == 3, known
    slurm("scancel", f"--user={os.getuid()}", folder=tmp_path)
    wait_until(lambda: idle(tmp_path), "the end of what was rendered")
    other = tmp_path / "launched"
    assert launch(*arguments, *later, f"work={other}").code == 0
    launched = jobs_of(tmp_path)
    assert launched.keys() == by_hand.keys()
    for name, number in launched.items():
        (flags, text), own = submitted[name], shown(number, tmp_path)
        assert {key: own[key] for key in own if own[key] != flags.get(key)} == {}, name
        assert flags.keys() == own.keys()
        assert script(number, tmp_path) == text
    slurm("scancel", f"--user={os.getuid()}", folder=tmp_path)
    again = launch(*arguments, f"work={work}", f"render={rendered}")
    assert (again.code, "is not empty" in again.err) == (73, True), again


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_the_demo_by_a_chain_of_templates_equals_a_launch(tmp_path: Path, work: Path) -> None:
    arguments = ("recipe=demo", "stage=all", "launcher=minislurm", f"work={work}")
    slurm("bash", template("chain"), *arguments, folder=tmp_path)
    wait_until(lambda: idle(tmp_path), "the end of the demo", 3000, pause_s=2)
    ended = launch(*arguments)
    assert (ended.code, "nothing to submit" in ended.out) == (0, True), (ended, printed(tmp_path))
    other = tmp_path / "launched"
    assert launch(*arguments[:3], f"work={other}").code == 0
    wait_until(lambda: idle(tmp_path), "the end of the launch", 3000, pause_s=2)
    nodes = sorted(path.name for path in (other / "latest").iterdir())
    same = ("fingerprint", "rows_in", "rows_out", "rows_rejected", "rejected")
    for node in nodes:
        by_hand, launched = summary(work, node), summary(other, node)
        assert {n: by_hand[n] for n in same} == {n: launched[n] for n in same}, node
