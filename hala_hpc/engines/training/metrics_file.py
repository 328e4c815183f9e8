"""Figures of every step while a model is trained: a file of JSON lines, and TensorBoard's.

`metrics.jsonl` has a line for each step: loss, learning rate, gradient norm, tokens/s, share of
the GPU's peak (MFU), seconds, memory. After a stop both go on at the step of the checkpoint.
"""

from pathlib import Path
from typing import ClassVar

from pydantic import SerializerFunctionWrapHandler, model_serializer

from hala_hpc.core.files import whole_file
from hala_hpc.core.record import Record

METRICS_FILE = "metrics.jsonl"
TENSORBOARD = "tensorboard"
#: Seconds after which TensorBoard's file is brought up to date.
FLUSH_S = 20


class StepFigures(Record):
    """One line of `metrics.jsonl`: a step, or a look at the held-out rows after it."""

    cure: ClassVar[str] = "remove the line; it is a figure for people only"

    step: int
    held_out_loss: float | None = None
    loss: float | None = None
    learning_rate: float | None = None
    grad_norm: float | None = None
    epoch: float | None = None
    tokens: int | None = None
    """Of all steps so far."""
    tokens_per_s: float | None = None
    mfu: float | None = None
    """Share of the peak of all GPUs; None if their peak is unknown."""
    step_s: float | None = None
    memory_gb: float | None = None
    loss_jump: float | None = None
    """By what share the loss rose after a resume."""
    time: float | None = None
    """Seconds since the epoch."""

    @model_serializer(mode="wrap")
    def _leave_out_unknown(
        self, serialize: SerializerFunctionWrapHandler
    ) -> dict[str, int | float]:
        return {name: value for name, value in serialize(self).items() if value is not None}


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

    def write(self, figures: StepFigures) -> None:
        """Write the figures of a step."""
        self._lines.write(f"{figures.line()}\n")
        self._lines.flush()
        for name, value in figures.to_values().items():
            if name not in ("step", "time"):
                self._board.add_scalar(f"train/{name}", value, figures.step)

    def close(self) -> None:
        """Finish both files."""
        self._lines.close()
        self._board.close()


def cut_after(path: Path, step: int) -> None:
    """Leave the lines of steps up to `step`; a line that a kill cut short goes as well."""
    if not path.exists():
        return
    kept = [f"{line.line()}\n" for line in read_metrics(path) if line.step <= step]
    with whole_file(path) as temporary:
        temporary.write_text("".join(kept), encoding="utf-8")


def read_metrics(path: Path) -> list[StepFigures]:
    """The figures of every step; a last line that is cut short is left out."""
    lines = path.read_text(encoding="utf-8").split("\n")
    # What stands behind the last line break is not whole.
    return [StepFigures.from_json(line, path) for line in lines[:-1]]
