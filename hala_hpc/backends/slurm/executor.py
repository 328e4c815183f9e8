"""submitit executor for one fixed script: nothing is pickled, and no file is left behind."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from submitit.slurm.slurm import SlurmExecutor


class ScriptExecutor(SlurmExecutor):  # type: ignore[misc]
    """Submits a script with flags and arguments; submitit parses the id from sbatch's output."""

    def __init__(self, folder: str, script: Path) -> None:
        super().__init__(folder=folder)
        self.script = script
        self.flags: list[str] = []
        self.arguments: list[str] = []

    def _make_submission_file_text(self, _command: str, _uid: str) -> str:
        return self.script.read_text()

    def _make_submission_command(self, submission_file_path: Path) -> list[str]:  # noqa: ARG002
        # Not submitit's copy: `scontrol show job` names the file.
        return ["sbatch", *self.flags, str(self.script), *self.arguments]


def submit_script(flags: Sequence[str], script: Path, arguments: Sequence[str]) -> str:
    """Submit the script and return the id of the job.

    SLURM stores a copy of the script, so submitit's temporary copy is deleted at once.

    Raises: submitit's FailedJobError or FailedSubmissionError with the output of sbatch.
    """
    with tempfile.TemporaryDirectory() as folder:
        executor = ScriptExecutor(folder, script)
        executor.flags, executor.arguments = list(flags), list(arguments)
        return str(executor._submit_command("").job_id)
