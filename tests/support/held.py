"""Jobs that wait until a test releases them, so that they are still running when it acts."""

import os
from pathlib import Path

from checkout import ROOT, STANDIN

#: Value of `engine.name` for a vLLM engine that can be held.
HELD_VLLM = "job_engines:vllm"


class JobHold:
    """Jobs with `variables` wait until `release()`; see `standin/faults.py`.

    A prepare job waits after reading its first rows. With `after`, the engines of
    `standin/job_engines.py` wait instead, each after that number of answers.
    """

    def __init__(self, folder: Path, after: int | None = None) -> None:
        self.release_file = folder / "release"
        self.fault = f"hold={self.release_file}" + ("" if after is None else f" after={after}")

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables of the jobs."""
        return {"HALA_FAULT": self.fault, "PYTHONPATH": os.pathsep.join(map(str, (STANDIN, ROOT)))}

    def release(self) -> None:
        """Let waiting jobs continue; later jobs do not wait."""
        self.release_file.touch()


def minislurm_launcher(folder: Path, variables: dict[str, str]) -> str:
    """`launcher=...` of the shipped launcher `minislurm` with more job variables."""
    path = folder / "minislurm-more.toml"
    # Its last table is the environment of its jobs.
    shipped = (ROOT / "launchers" / "minislurm.toml").read_text()
    path.write_text(shipped + "".join(f'{key} = "{value}"\n' for key, value in variables.items()))
    return f"launcher={path}"
