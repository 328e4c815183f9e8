"""submitit's executor for a script that is always the same: nothing is pickled or left behind."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from submitit.slurm.slurm import SlurmExecutor


class ScriptExecutor(SlurmExecutor):  # type: ignore[misc]
    """Hands in a script with flags and words as arguments, and reads the id from the answer."""

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
    """Id of the job. Raises submitit's errors with what sbatch said.

    SLURM keeps a copy of the script, so that which submitit writes is gone at once.
    """
    with tempfile.TemporaryDirectory() as folder:
        executor = ScriptExecutor(folder, script)
        executor.flags, executor.arguments = list(flags), list(arguments)
        return str(executor._submit_command("").job_id)
