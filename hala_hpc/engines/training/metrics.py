"""Tells rank 0's metrics file what every step of a training was like."""

import resource
import time
from statistics import fmean
from typing import Any

from hala_hpc.core.record import Record
from hala_hpc.core.stage import Out
from hala_hpc.engines.evaluation.curve import CurvePoint
from hala_hpc.engines.models.architecture import flops_per_token
from hala_hpc.engines.models.gpus import peak_flops
from hala_hpc.engines.training.dataset import GlobalBatchOrder
from hala_hpc.engines.training.metrics_file import MetricsFile, StepFigures
from hala_hpc.engines.training.training_run import Training

#: Folder inside `kept`, and later in the model folder.
METRICS = "metrics"
#: Weight of the newest step in the mean from which the time left is told.
NEWEST = 0.1


class TokenCount:
    """Tokens of every step: known from the order of the rows, so that no rank has to be asked."""

    def __init__(self, order: GlobalBatchOrder) -> None:
        self.order = order
        self.epoch = -1
        self.of_batches: list[int] = []

    def of_step(self, step: int) -> int:
        """Tokens of the global batch of a step, counted from 1."""
        epoch, batch = divmod(step - 1, self.order.batches)
        if epoch != self.epoch:
            lengths = self.order.lengths[self.order.rows_of(epoch)]
            self.of_batches = lengths.reshape(self.order.batches, -1).sum(axis=1).tolist()
            self.epoch = epoch
        return int(self.of_batches[batch])

    def until(self, step: int) -> int:
        """Tokens of all steps up to this one."""
        return sum(self.of_step(number) for number in range(1, step + 1))


def make_metrics_watch(training: Training, order: GlobalBatchOrder, out: Out) -> Any:
    """A callback for the trainer that writes the metrics of every logged step."""
    from transformers import TrainerCallback

    return type("MetricsWatch", (MetricsWatch, TrainerCallback), {})(training, order, out)


class MetricsWatch:
    """A callback of the trainer. Its calls are made on all ranks; rank 0 alone writes."""

    file: MetricsFile | None = None

    def __init__(self, training: Training, order: GlobalBatchOrder, out: Out) -> None:
        self.training, self.order, self.out = training, order, out
        self.count = TokenCount(order)
        self.step_s = self.tokens = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Open the file where the last attempt's checkpoint was saved."""
        del args, control
        if self.out.rank != 0:
            return
        import torch

        mean_tokens = float(self.order.lengths.mean())
        peak = peak_flops(torch.cuda.get_device_name()) if torch.cuda.is_available() else None
        # Share of the peak of all GPUs that one token a second is.
        per_token = flops_per_token(self.training.model, mean_tokens)
        self.share = per_token / (peak * self.out.world_size) if peak else None
        self.file = MetricsFile(self.training.kept / METRICS, state.global_step)
        self.tokens = self.count.until(state.global_step)
        self.before = time.monotonic()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **_: Any) -> None:
        """Write the figures of a step, or of a look at the held-out rows."""
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
                memory_gb=round(memory_gb(), 3),
                loss_jump=logs.get("loss_jump"),
                time=round(time.time(), 3),
            )
        )
        left_s = self.step_s * (state.max_steps - step)
        told = {"tokens": self.tokens, "tokens_per_s": round(rate, 1), "left_s": round(left_s)}
        self.out.progress(loss=logs["loss"], **told)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Finish the files."""
        del args, state, control
        if self.file is not None:
            self.file.close()


def memory_gb() -> float:
    """The most memory that this process had on its GPU, or on the host where it has none."""
    import torch

    if torch.cuda.is_available():
        return float(torch.cuda.max_memory_allocated()) / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


class HeldOutPoint(Record):
    """The loss on the held-out rows after a step."""

    step: int
    loss: float


class LossJump(Record):
    """A rise of the loss after a resume."""

    step: int
    rise: float
    """As a share of the loss before."""


def curve(metrics: list[StepFigures], every: int) -> list[CurvePoint]:
    """The loss curve: the first step, then means over `every` steps; a last point has the rest."""
    points: list[CurvePoint] = []
    window: list[StepFigures] = []
    for line in metrics:
        if line.loss is None:
            continue
        window.append(line)
        if line.step % every == 0 or line.step == 1:
            points.append(mean_of(window))
            window = []
    return [*points, mean_of(window)] if window else points


def held_out_curve(metrics: list[StepFigures]) -> list[HeldOutPoint]:
    """Loss on the held-out rows by step."""
    return [
        HeldOutPoint(step=line.step, loss=round(line.held_out_loss, 5))
        for line in metrics
        if line.held_out_loss is not None
    ]


def loss_jumps(metrics: list[StepFigures]) -> list[LossJump]:
    """Where the loss jumped after a resume."""
    return [
        LossJump(step=line.step, rise=line.loss_jump)
        for line in metrics
        if line.loss_jump is not None
    ]


def mean_of(lines: list[StepFigures]) -> CurvePoint:
    """One point of the curve for some steps."""
    last, seconds = lines[-1], sum(line.step_s or 0.0 for line in lines)
    tokens = sum((line.tokens_per_s or 0.0) * (line.step_s or 0.0) for line in lines)
    return CurvePoint(
        step=last.step,
        loss=round(fmean(line.loss for line in lines if line.loss is not None), 5),
        learning_rate=last.learning_rate,
        tokens_per_s=round(tokens / max(seconds, 1e-6), 1),
    )
