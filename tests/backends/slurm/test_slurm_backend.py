"""Jobs on a real SLURM: programs, environment, dependencies, and refusals."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from checkout import ROOT
from job_states import states

from benchmarks.common.waiting import WAIT_S
from benchmarks.common.waiting import wait_until as wait_until_true
from hala_hpc.backends.slurm.backend import Objections, SlurmBackend
from hala_hpc.backends.slurm.sacct import NamedJob, query_task_exits
from hala_hpc.core.errors import JobLimitReached, TransientError, UserError
from hala_hpc.core.job import Job
from hala_hpc.core.resources import Resources

pytestmark = [pytest.mark.slurm, pytest.mark.usefixtures("minislurm")]
REPOSITORY = str(ROOT)
SMALL = Resources(cpus_per_rank=1, mem_gb=1, timeout_min=5)
#: The program of every rank: writes the environment of its task, then runs the test's code.
NOTE = """
import json, os, time
from pathlib import Path
from hala_hpc.backends.slurm.backend import task_environment
seen = task_environment()
note = Path({folder!r}) / (seen["HALA_JOB_ID"] + "-" + seen["RANK"] + "-" + seen["HALA_RESTARTS"])
note.write_text(json.dumps(dict(os.environ, **seen, now=time.time())))
"""
AWAY = Resources(cpus_per_rank=1, mem_gb=1, timeout_min=5, options={"begin": "now+1hour"})


def write_program(folder: Path, text: str) -> str:
    """Name of a module that writes its environment and runs `text`."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"program{len(list(folder.glob('program*.py')))}"
    (folder / f"{name}.py").write_text(NOTE.format(folder=str(folder)) + text)
    return name


def make_job(folder: Path, text: str = "", resources: Resources = SMALL, **fields: Any) -> Job:
    fields = {"environment": {}} | fields
    fields["environment"] |= {"PYTHONPATH": f"{folder}:{REPOSITORY}"}
    return Job(
        "test-job",
        write_program(folder, text),
        (),
        python=sys.executable,
        resources=resources,
        folder=folder / "jobs",
        **fields,
    )


def notes(folder: Path, job_id: str) -> list[dict[str, str]]:
    """The environments written by the ranks of a job, ordered by file name."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob(f"{job_id}[_-]*"))]


def command_output(command: str) -> str:
    """Output of a shell command, including errors."""
    arguments = ["bash", "-c", f"exec 2>&1; {command}"]
    return subprocess.run(
        arguments, capture_output=True, text=True, check=False, timeout=WAIT_S
    ).stdout


def wait_until(condition: Callable[[], object], what: str) -> None:
    wait_until_true(condition, what, pause_s=0.2, state=lambda: command_output("squeue; sacct -D"))


def slurm_version() -> tuple[int, ...]:
    """`slurm-wlm 24.11.5` or `slurm 24.11.5` to 24, 11."""
    release = command_output("sinfo --version").split()[1]
    return tuple(int(part) for part in release.split(".")[:2])


def wait_for_end(*ids: str) -> None:
    wait_until(lambda: not states(ids), f"the end of {ids}")


@pytest.fixture(scope="module", autouse=True)
def preempted(minislurm: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A job of the low partition that is preempted; started early, as it takes 30 s."""
    assert minislurm.exists()
    folder = tmp_path_factory.mktemp("preempted")
    there = SMALL.model_copy(update={"options": {"nodelist": "node4", "exclusive": "true"}})
    text = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    text += "if seen['HALA_RESTARTS'] == '0': signal.pause()"
    low = SlurmBackend().submit(make_job(folder, text, there))
    wait_until(lambda: notes(folder, low), "the first job began")
    options = {**there.options, "partition": "high"}
    high = SlurmBackend().submit(
        make_job(folder, "", SMALL.model_copy(update={"options": options}))
    )
    return folder, low, high


def test_an_array_runs_in_every_rank_of_two_nodes(tmp_path: Path) -> None:
    two = Resources(
        nodes=2,
        ranks_per_node=2,
        gpus_per_node=3,
        cpus_per_rank=2,
        mem_gb=2,
        options={"gpu_type": "h100", "constraint": "minislurm"},
    )
    job = make_job(tmp_path, "", two)
    backend = SlurmBackend()
    number = backend.submit(replace(job, array_size=2))
    wait_for_end(number)
    seen = notes(tmp_path, number)
    assert [(note["HALA_JOB_ID"], note["RANK"]) for note in seen] == [
        (f"{number}_{element}", str(rank)) for element in (0, 1) for rank in range(4)
    ]
    assert {note["WORLD_SIZE"] for note in seen} == {"4"}
    assert [note["LOCAL_RANK"] for note in seen] == ["0", "1", "0", "1"] * 2
    assert len({note["HALA_NODE"] for note in seen[:4]}) == 2
    assert {note["MASTER_ADDR"] for note in seen} == {"127.0.0.1"}, "node names mean nothing here"
    assert len({note["MASTER_PORT"] for note in seen[:4]}) == 1
    assert seen[0]["MASTER_PORT"] != seen[4]["MASTER_PORT"]
    assert {len(note["CUDA_VISIBLE_DEVICES"].split(",")) for note in seen} == {3}
    assert {note["SLURM_CPUS_PER_TASK"] for note in seen} == {"2"}


def test_no_secret_of_the_shell_reaches_script_job_or_accounting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_TOKEN", "WANDB_API_KEY", "OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "canary")
    monkeypatch.setenv("SBATCH_PARTITION", "no-such-partition")
    monkeypatch.setenv("HF_HOME", "/models")
    job = make_job(tmp_path, environment={"WORDS": 'it\'s $HOME, "so"'})
    job = replace(job, setup=("export FROM_SETUP=loaded",))
    number = SlurmBackend().submit(job)
    result = command_output(f"scontrol show job {number}; sacct -B -j {number}")
    wait_for_end(number)
    (seen,) = notes(tmp_path, number)
    assert seen["HF_HOME"] == "/models"
    assert seen["WORDS"] == 'it\'s $HOME, "so"'
    assert seen["FROM_SETUP"] == "loaded"
    texts = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(b"canary" in text for text in [*texts, result.encode()])
    modes = {path.stat().st_mode & 0o77 for path in job.folder.rglob("*")} | {
        job.folder.stat().st_mode & 0o77
    }
    assert modes <= {0, 0o77}, "only links are open to others"


def test_what_is_submitted_is_the_one_script_and_leaves_no_files(tmp_path: Path) -> None:
    job = make_job(tmp_path / "with blank", resources=AWAY)
    for count in (1, 3):
        asked = replace(job, array_size=count)
        number = SlurmBackend().submit(asked)
        assert states([number]) == {number: "pending"}
        result = command_output(f"scontrol write batch_script {number} -")
        assert result.strip() == (Path(REPOSITORY) / "slurm/job.sbatch").read_text().strip()
        assert list(job.folder.iterdir()) == []
        SlurmBackend().cancel([number])
        assert states([number, "4000000"]) == {}


def test_a_job_that_waits_for_a_gate_can_be_moved_to_its_successor(tmp_path: Path) -> None:
    backend = SlurmBackend()
    gate = backend.submit(make_job(tmp_path, resources=AWAY))
    release_file = tmp_path / "release"
    wait = "from benchmarks.common.waiting import wait_until\n"
    wait += f"wait_until(Path({str(release_file)!r}).exists, 'the file of the test')\n"
    other = backend.submit(make_job(tmp_path, wait))
    job = make_job(tmp_path, after_ok=(gate, other))
    waiting = backend.submit(replace(job, array_size=2))
    bystander = backend.submit(make_job(tmp_path, after_any=(f"{gate}",), resources=AWAY))
    successor = backend.submit(make_job(tmp_path))
    assert sorted(backend.replace_dependency(gate, successor)) == sorted([waiting, bystander])
    assert backend.replace_dependency(gate, successor) == []
    backend.cancel([gate, bystander])
    wait_for_end(successor)
    assert other in command_output(f"squeue --noheader --jobs={waiting} --format=%E"), (
        "this wait stayed"
    )
    let_go = time.time()
    release_file.touch()
    wait_for_end(waiting)
    assert len(notes(tmp_path, waiting)) == 2
    first = min(note["now"] for note in notes(tmp_path, waiting))
    assert float(first) > let_go


def test_who_waits_for_a_failed_job_is_cancelled(tmp_path: Path) -> None:
    backend = SlurmBackend()
    failing = backend.submit(make_job(tmp_path, "os._exit(3)"))
    waiting = backend.submit(make_job(tmp_path, after_ok=(failing,)))
    wait_for_end(failing, waiting)
    assert notes(tmp_path, waiting) == []
    wait_until(lambda: describe_end(failing).startswith("FAILED 3:0 on node"), "how it failed")
    wait_until(lambda: describe_end(waiting).startswith("CANCELLED"), "who cancelled it")


def describe_end(number: str) -> str:
    """How a job ended according to SLURM; empty if not known yet."""
    found = query_task_exits([NamedJob(number, "test-job")])
    return " ".join(end.describe() for end in found.get(number, [])[-1:])


def test_a_job_submits_another_that_inherits_nothing_of_it(tmp_path: Path) -> None:
    module = write_program(tmp_path, "")
    inner = f"""
from hala_hpc.backends.slurm.backend import SlurmBackend
from hala_hpc.core.job import Job
from hala_hpc.core.resources import Resources
os.environ["HF_TOKEN"] = "canary"
job = Job("inner", {module!r}, (), {sys.executable!r}, Resources(mem_gb=1, cpus_per_rank=1),
          Path({str(tmp_path / "inner")!r}),
          environment={{"PYTHONPATH": {f"{tmp_path}:{REPOSITORY}"!r}}})
from hala_hpc.core.files import write_text
write_text(Path({str(tmp_path / "id")!r}), SlurmBackend().submit(job))
"""
    outer = Resources(nodes=2, gpus_per_node=2, cpus_per_rank=4, mem_gb=2, timeout_min=5)
    SlurmBackend().submit(
        make_job(tmp_path, "if seen['RANK'] == '0':" + inner.replace("\n", "\n    "), outer)
    )
    wait_until((tmp_path / "id").exists, "the job has submitted another")
    number = (tmp_path / "id").read_text()
    wait_for_end(number)
    (seen,) = notes(tmp_path, number)
    assert (seen["WORLD_SIZE"], seen["SLURM_CPUS_PER_TASK"]) == ("1", "1")
    assert "HF_TOKEN" not in seen


def test_what_slurm_would_refuse_is_reported_before(tmp_path: Path) -> None:
    def refusal(**update: Any) -> str:
        job = make_job(tmp_path, resources=Resources(**update))
        return "\n".join(SlurmBackend().objections([job]).refused)

    assert SlurmBackend().objections([make_job(tmp_path)]) == Objections()
    assert "invalid partition" in refusal(options={"partition": "gpu"}).lower()
    assert "'test-job': SLURM refuses it" in refusal(gpus_per_node=9)
    assert "did you mean 'partition'?" in refusal(options={"partion": "low"})
    job = make_job(tmp_path)
    many = replace(job, array_size=1002)
    assert SlurmBackend().objections([many]) == Objections(), "fewer workers will do as well"
    with pytest.raises(JobLimitReached, match="Invalid job array specification"):
        SlurmBackend().submit(many)
    with pytest.raises(UserError, match=r"SLURM refuses it: .*invalid partition"):
        SlurmBackend().submit(make_job(tmp_path, resources=Resources(options={"partition": "gpu"})))
    assert not list(tmp_path.glob("jobs/*.out"))


def test_a_controller_that_is_gone_differs_from_jobs_that_are(
    tmp_path: Path, minislurm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conf = minislurm.read_text()
    (port,) = [line for line in conf.splitlines() if line.startswith("SlurmctldPort=")]
    (tmp_path / "slurm.conf").write_text(conf.replace(port, "SlurmctldPort=9\nMessageTimeout=2"))
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "slurm.conf"))
    assert "controller does not answer" in SlurmBackend().preflight()[0]
    with pytest.raises(TransientError, match="nothing was submitted"):
        SlurmBackend(patience_s=0).submit(make_job(tmp_path))
    assert not (tmp_path / "jobs").exists()
    with pytest.raises(TransientError, match="Unable to contact slurm controller"):
        SlurmBackend().query_queue(["1"])


def test_a_held_job_differs_from_a_waiting_one(tmp_path: Path) -> None:
    backend = SlurmBackend()
    number = backend.submit(make_job(tmp_path, resources=AWAY))
    assert [seen.reason for seen in backend.query_queue([number])] == ["BeginTime"]
    subprocess.run(["scontrol", "hold", number], check=True, timeout=WAIT_S)
    assert states([number]) == {number: "held"}
    backend.cancel([number])


@pytest.mark.parametrize(
    ("arguments", "calls"),
    [
        (
            ["--array=0-1", "translate.sbatch", "work=a b"],
            ["template worker stage=translate work=a b"] * 2,
        ),
        (["gate.sbatch", "node=a"], ["template gate node=a"]),
        (["launch.sbatch", "stage=all", "work=a b"], ["launch stage=all work=a b"]),
    ],
)
def test_the_templates_run_as_they_are(
    arguments: list[str], calls: list[str], tmp_path: Path
) -> None:
    templates = Path(REPOSITORY) / "slurm"
    arguments = [
        str(templates / argument) if argument.endswith(".sbatch") else argument
        for argument in arguments
    ]
    command = ["sbatch", "--parsable", "--wait", f"--output={tmp_path}/%A_%a.out", *arguments]
    environment = {**os.environ, "HALA_PYTHON": "echo", "HALA_HOME": str(REPOSITORY)}
    subprocess.run(command, check=True, env=environment, cwd=tmp_path, timeout=WAIT_S)
    output = [path.read_text().strip() for path in sorted(tmp_path.glob("*.out"))]
    assert output == [f"-u -m hala_hpc.{call}" for call in calls]


def test_a_preempted_job_comes_back_and_reports_it(preempted: tuple[Path, str, str]) -> None:
    folder, low, high = preempted
    wait_for_end(low, high)
    restarts = [note["HALA_RESTARTS"] for note in notes(folder, low)]
    # SLURM 24.11 requeues a job whose grace time has expired, also after a clean exit.
    again = ["2"] if restarts[2:] and slurm_version() >= (23, 11) else []
    assert restarts == ["0", "1", *again]
    assert len(notes(folder, high)) == 1
    ports = [note["MASTER_PORT"] for note in notes(folder, low)]
    assert ports[0] != ports[1]
