"""Write the metrics of every training step to a file of JSON lines and to TensorBoard.

`metrics.jsonl` has a line for each step: loss, learning rate, gradient norm, tokens/s, share of
the GPU's peak (MFU), seconds, memory. After a stop both files resume at the checkpoint's step.
"""

import resource
import time
from pathlib import Path
from typing import Any, ClassVar

from pydantic import SerializerFunctionWrapHandler, model_serializer

from hala_hpc.core.files import atomic_file
from hala_hpc.core.record import JsonRecord
from hala_hpc.core.stage import UnitContext
from hala_hpc.engines.models.architecture import flops_per_token
from hala_hpc.engines.models.gpus import peak_flops
from hala_hpc.engines.training.dataset import GlobalBatchOrder
from hala_hpc.engines.training.training_run import Training

METRICS_FILE = "metrics.jsonl"
TENSORBOARD = "tensorboard"
#: Seconds between two flushes of TensorBoard's file.
FLUSH_S = 20
#: Folder inside `state_dir`, and later in the model folder.
METRICS = "metrics"
#: Weight of the newest step in the running mean from which the time left is estimated.
NEWEST = 0.1


class StepFigures(JsonRecord):
    """One line of `metrics.jsonl`: a step, or an evaluation on the held-out rows after it."""

    fix: ClassVar[str] = "remove the line; metrics are only informative"

    step: int
    held_out_loss: float | None = None
    loss: float | None = None
    learning_rate: float | None = None
    grad_norm: float | None = None
    epoch: float | None = None
    tokens: int | None = None
    """Total of all steps so far."""
    tokens_per_s: float | None = None
    mfu: float | None = None
    """Model FLOPs utilization over all GPUs; None if their peak is unknown."""
    step_s: float | None = None
    memory_gb: float | None = None
    loss_jump: float | None = None
    """Relative rise of the loss after a resume."""
    time: float | None = None
    """Seconds since 1970 (Unix time)."""

    @model_serializer(mode="wrap")
    def _leave_out_unknown(
        self, serialize: SerializerFunctionWrapHandler
    ) -> dict[str, int | float]:
        return {name: value for name, value in serialize(self).items() if value is not None}


class MetricsFile:
    """Writer of the metrics of one training; only on rank 0.

    `folder` outlives the attempt. Lines of steps after `step`, which will be repeated, are removed.
    """

    def __init__(self, folder: Path, step: int) -> None:
        from tensorboardX import SummaryWriter  # type: ignore[import-untyped]

        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / METRICS_FILE
        truncate_after(self.path, step)
        self._lines = self.path.open("a", encoding="utf-8")
        self._board = SummaryWriter(
            str(folder / TENSORBOARD), purge_step=step + 1 if step else None, flush_secs=FLUSH_S
        )

    def write(self, figures: StepFigures) -> None:
        """Write the metrics of a step."""
        self._lines.write(f"{figures.line()}\n")
        self._lines.flush()
        for name, value in figures.to_values().items():
            if name not in ("step", "time"):
                self._board.add_scalar(f"train/{name}", value, figures.step)

    def close(self) -> None:
        """Close both files."""
        self._lines.close()
        self._board.close()


def truncate_after(path: Path, step: int) -> None:
    """Remove the lines of steps after `step`, and a line that a kill cut short."""
    if not path.exists():
        return
    lines = [f"{line.line()}\n" for line in read_metrics(path) if line.step <= step]
    with atomic_file(path) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")


def read_metrics(path: Path) -> list[StepFigures]:
    """Read the metrics of every step; a last line that is cut short is left out."""
    lines = path.read_text(encoding="utf-8").split("\n")
    # What follows the last line break is incomplete.
    return [StepFigures.from_json(line, path) for line in lines[:-1]]


class TokenCounter:
    """Counts the tokens of every step from the order of the rows, without a collective."""

    def __init__(self, order: GlobalBatchOrder) -> None:
        self.order = order
        self.epoch = -1
        self.of_batches: list[int] = []

    def of_step(self, step: int) -> int:
        """Return the tokens of the global batch of a step; steps are counted from 1."""
        epoch, batch = divmod(step - 1, self.order.batches)
        if epoch != self.epoch:
            lengths = self.order.lengths[self.order.epoch_rows(epoch)]
            self.of_batches = lengths.reshape(self.order.batches, -1).sum(axis=1).tolist()
            self.epoch = epoch
        return int(self.of_batches[batch])

    def until(self, step: int) -> int:
        """Return the tokens of all steps up to and including this one."""
        return sum(self.of_step(number) for number in range(1, step + 1))


class MetricsCallback:
    """Trainer callback that writes the metrics of every logged step.

    It is called on all ranks; only rank 0 writes.
    """

    file: MetricsFile | None = None

    def __init__(self, training: Training, order: GlobalBatchOrder, out: UnitContext) -> None:
        self.training, self.order, self.out = training, order, out
        self.count = TokenCounter(order)
        self.step_s = self.tokens = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Open the files at the step of the last attempt's checkpoint."""
        del args, control
        if self.out.rank != 0:
            return
        import torch

        mean_tokens = float(self.order.lengths.mean())
        peak = peak_flops(torch.cuda.get_device_name()) if torch.cuda.is_available() else None
        # Share of the peak of all GPUs at one token per second.
        per_token = flops_per_token(self.training.model, mean_tokens)
        self.share = per_token / (peak * self.out.world_size) if peak else None
        self.file = MetricsFile(self.training.state_dir / METRICS, state.global_step)
        self.tokens = self.count.until(state.global_step)
        self.before = time.monotonic()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **_: Any) -> None:
        """Write the metrics of a step, or of an evaluation on the held-out rows."""
        del args, control
        if self.file is None:
            return
        step = state.global_step
        if "eval_loss" in logs:
            self.file.write(StepFigures(step=step, held_out_loss=logs["eval_loss"]))
            self.before = time.monotonic()
        if "loss" not in logs:
            return
        now, tokens = time.monotonic(), self.count.of_step(step)
        seconds, self.before = now - self.before, now
        self.tokens += tokens
        rate = tokens / max(seconds, 1e-6)
        self.step_s += (seconds - self.step_s) * (NEWEST if self.step_s else 1.0)
        self.file.write(
            StepFigures(
                step=step,
                loss=logs["loss"],
                learning_rate=logs["learning_rate"],
                grad_norm=logs.get("grad_norm"),
                epoch=round(state.epoch, 5),
                tokens=int(self.tokens),
                tokens_per_s=round(rate, 1),
                mfu=round(rate * self.share, 4) if self.share else None,
                step_s=round(seconds, 4),
                memory_gb=round(peak_memory_gb(), 3),
                loss_jump=logs.get("loss_jump"),
                time=round(time.time(), 3),
            )
        )
        left_s = self.step_s * (state.max_steps - step)
        progress = {"tokens": self.tokens, "tokens_per_s": round(rate, 1), "left_s": round(left_s)}
        self.out.report_progress(loss=logs["loss"], **progress)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Close the files."""
        del args, state, control
        if self.file is not None:
            self.file.close()


def peak_memory_gb() -> float:
    """Return the peak memory of this process on its GPU, or on the host without a GPU."""
    import torch

    if torch.cuda.is_available():
        return float(torch.cuda.max_memory_allocated()) / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
