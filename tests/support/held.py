"""Work that is still going on when something happens to it, as it waits for the word of a test."""

import os
from pathlib import Path

from checkout import ROOT, STANDIN

#: Value of `engine.name` for vLLM that can be held.
HELD_VLLM = "job_engines:vllm"


class JobHold:
    """Jobs with `variables` go so far and no further until `let_go`; see `standin/faults.py`.

    Preparing a corpus waits with its first rows read. With `after` the engines of
    `standin/job_engines.py` wait instead, each once it gave so many answers.
    """

    def __init__(self, folder: Path, after: int | None = None) -> None:
        self.release_file = folder / "word"
        self.fault = f"hold={self.release_file}" + ("" if after is None else f" after={after}")

    @property
    def variables(self) -> dict[str, str]:
        """What the jobs find in their environment."""
        return {"HALA_FAULT": self.fault, "PYTHONPATH": os.pathsep.join(map(str, (STANDIN, ROOT)))}

    def release(self) -> None:
        """Give the word: what waits goes on, and nothing waits from now on."""
        self.release_file.touch()


def minislurm_launcher(folder: Path, variables: dict[str, str]) -> str:
    """`launcher=...` of the shipped launcher `minislurm`, whose jobs have more variables."""
    path = folder / "minislurm-more.toml"
    # Its last table is the environment of its jobs.
    shipped = (ROOT / "launchers" / "minislurm.toml").read_text()
    path.write_text(shipped + "".join(f'{key} = "{value}"\n' for key, value in variables.items()))
    return f"launcher={path}"
