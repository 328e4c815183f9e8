"""Changes of the clone between launch and start are detected; `snapshot = true` copies the code."""

from pathlib import Path

import pytest
from clones import Clone
from command_line import CommandResult, one_row_recipe, run_command
from fake_slurm import FakeSlurm, on_path
from message_checks import assert_message

from hala_hpc.core.artifact import Artifact
from hala_hpc.core.errors import CONFIG, OK
from hala_hpc.core.records import NodeSummary

#: Lines appended to `prepare` that change its stage version.
OTHER_VERSION = "\n\nPrepare.version += 1\n"
#: Lines by which an attempt, but no launch or gate, writes from where it imported the package.
PRINT_PLACE = """
if "HALA_STOP_FD" in os.environ:
    Path("{place}").write_text(__file__)
"""


class Cluster(FakeSlurm):
    """A SLURM that accepts every job and starts none."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.add("scontrol", 'echo "Slurmctld(primary) at here is UP"')
        for name in ("squeue", "sinfo", "sacct", "srun"):
            self.add(name, "true")
        self.add("sbatch", f'echo "$*" >> {folder}/asked; echo "Submitted batch job 41"')


class Queued:
    """A node that was launched, and whose jobs wait in the queue."""

    def __init__(self, clone: Clone, folder: Path, lines: str = "") -> None:
        self.clone, self.work = clone, folder / "work"
        self.work.mkdir()
        # An older run: the doctor does not check the cluster.
        (self.work / "run.json").write_text("{}")
        launcher = folder / "site.toml"
        launcher.write_text(f'backend = "slurm"\n{lines}')
        self.arguments = ["stage=all", one_row_recipe(folder), f"work={self.work}"]
        self.arguments.append(f"launcher={launcher}")
        self.launched = clone.run(*self.arguments)
        assert self.launched.code == OK, self.launched
        (found,) = self.work.glob("corpus-*")
        self.artifact = Artifact(found)

    def start(self) -> CommandResult:
        """Run its worker and its gate, as the jobs do; return the end of the worker."""
        folder = self.artifact.require_newest_round().spec.code_folder or str(self.clone.folder)
        logs, name = self.artifact.logs, str(self.artifact.folder)
        logs.mkdir(parents=True, exist_ok=True)
        ended = run_command(name, "0", module="worker", cwd=logs, PYTHONPATH=folder)
        run_command(name, "1", module="gate", cwd=logs, PYTHONPATH=folder)
        return ended

    def summary(self) -> NodeSummary:
        found = self.artifact.summary()
        assert found is not None
        return found


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clone:
    Cluster(on_path(tmp_path / "commands", monkeypatch))
    return Clone(tmp_path / "clone")


def test_a_pull_before_the_start_is_noted_and_ends_no_job(clone: Clone, tmp_path: Path) -> None:
    node = Queued(clone, tmp_path)
    clone.append("hala_hpc/jobs/attempt.py", "# pulled\n")
    second = clone.commit()
    ended = node.start()
    assert ended.code == OK, ended
    assert_message(
        ended.err, "the code has changed since the launch", second[:12], clone.first[:12]
    )
    assert node.summary().commit == second
    (place,) = node.summary().because
    assert_message(place, "the code changed after the launch", second[:12], clone.first[:12])


def test_a_pull_that_makes_other_results_is_refused(clone: Clone, tmp_path: Path) -> None:
    node = Queued(clone, tmp_path)
    clone.append("hala_hpc/stages/prepare.py", OTHER_VERSION)
    ended = node.start()
    assert ended.code == CONFIG, ended
    report = node.artifact.failure()
    assert report is not None
    assert_message(report.reasons[0].text, "stage prepare: the code has version", "snapshot = true")


def test_jobs_import_the_copy_that_the_launch_has_made(clone: Clone, tmp_path: Path) -> None:
    place = tmp_path / "place"
    clone.append("hala_hpc/jobs/job_context.py", PRINT_PLACE.format(place=place))
    commit = clone.commit()
    node = Queued(clone, tmp_path, "snapshot = true\n")
    copy = node.work / "code" / commit
    asked = (tmp_path / "commands" / "asked").read_text()
    assert f"HALA_CODE_FOLDER={copy}" in asked
    assert f"{copy}/slurm/job.sbatch" not in asked, "the launch submits the script of its clone"

    rights = {path.stat().st_mode & 0o077 for path in [copy.parent, *copy.rglob("*")]}
    assert rights == {0}, "the copy is its user's alone"
    assert not list(copy.parent.glob(".*"))

    clone.append("hala_hpc/stages/prepare.py", OTHER_VERSION)
    assert node.start().code == OK
    assert Path(place.read_text()).is_relative_to(copy)
    assert node.summary().commit == commit
    assert node.summary().because == ()


def test_a_copy_of_a_changed_clone_is_named_after_its_files(clone: Clone, tmp_path: Path) -> None:
    clone.append("hala_hpc/jobs/attempt.py", "# changed by hand\n")
    node = Queued(clone, tmp_path, "snapshot = true\n")
    (copy,) = (node.work / "code").iterdir()
    digest = node.artifact.require_newest_round().spec.code_digest
    assert copy.name == f"{clone.first}-{digest[:12]}"


def test_a_copy_that_was_changed_or_is_open_to_others_is_refused(
    clone: Clone, tmp_path: Path
) -> None:
    node = Queued(clone, tmp_path, "snapshot = true\n")
    file = node.work / "code" / clone.first / "hala_hpc" / "worker.py"
    file.chmod(0o660)
    refused = clone.run(*node.arguments)
    assert refused.code == CONFIG
    assert_message(refused.err, f"chmod go-w {file}")
    file.chmod(0o600)
    file.write_text(file.read_text() + "# by hand\n")
    refused = clone.run(*node.arguments)
    assert refused.code == CONFIG
    assert_message(refused.err, "no longer holds the code that it is named after")


def test_a_local_run_imports_the_copy_before_what_the_setup_lines_put_on_the_path(
    clone: Clone, tmp_path: Path
) -> None:
    place, other = tmp_path / "place", tmp_path / "other"
    clone.append("hala_hpc/jobs/job_context.py", PRINT_PLACE.format(place=place))
    launcher = tmp_path / "here.toml"
    for number, setup in enumerate(("", f"export PYTHONPATH={other}:$PYTHONPATH")):
        lines = [setup] if setup else []
        launcher.write_text(f'backend = "local"\nsnapshot = true\nsetup = {lines}\n')
        work = tmp_path / f"work{number}"
        arguments = ["stage=all", one_row_recipe(tmp_path), f"work={work}", f"launcher={launcher}"]
        ended = clone.run(*arguments)
        assert ended.code == OK, ended
        assert Path(place.read_text()).is_relative_to(work / "code")
