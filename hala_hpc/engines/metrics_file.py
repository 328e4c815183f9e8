"""Figures of every step while a model is trained: a file of JSON lines, and TensorBoard's.

`metrics.jsonl` has a line for each step: loss, learning rate, gradient norm, tokens/s, share of
the GPU's peak (MFU), seconds, memory. After a stop both go on at the step of the checkpoint.
"""

import json
from pathlib import Path
from typing import Any

from hala_hpc.core.files import whole_file

METRICS_FILE = "metrics.jsonl"
TENSORBOARD = "tensorboard"
#: Seconds after which TensorBoard's file is brought up to date.
FLUSH_S = 20


class MetricsFile:
    """Writes the figures of one training; rank 0 alone has one.

    `folder` outlives the attempt; lines of steps after `step`, which will be done again, are cut.
    """

    def __init__(self, folder: Path, step: int) -> None:
        from tensorboardX import SummaryWriter  # type: ignore[import-untyped]

        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / METRICS_FILE
        cut_after(self.path, step)
        self._lines = self.path.open("a", encoding="utf-8")
        self._board = SummaryWriter(
            str(folder / TENSORBOARD), purge_step=step + 1 if step else None, flush_secs=FLUSH_S
        )

    def write(self, step: int, values: dict[str, float | None]) -> None:
        """Write the figures of a step; those that are not known are left out."""
        known = {name: value for name, value in values.items() if value is not None}
        self._lines.write(json.dumps({"step": step, **known}) + "\n")
        self._lines.flush()
        for name, value in known.items():
            if name == "time":
                continue
            self._board.add_scalar(f"train/{name}", value, step)

    def close(self) -> None:
        """Finish both files."""
        self._lines.close()
        self._board.close()


def cut_after(path: Path, step: int) -> None:
    """Leave the lines of steps up to `step`; a line that a kill cut short goes as well."""
    if not path.exists():
        return
    kept = [line for line in read_metrics(path) if line["step"] <= step]
    with whole_file(path) as temporary:
        temporary.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The figures of every step; a last line that is cut short is left out."""
    lines = path.read_text(encoding="utf-8").split("\n")
    # What stands behind the last line break is not whole.
    return [json.loads(line) for line in lines[:-1]]
