"""Figures of a finished training, with the curves made from its metrics."""

from statistics import fmean
from typing import Any

from pydantic import Field

from hala_hpc.core.record import JsonRecord
from hala_hpc.engines.evaluation.report import CurvePoint
from hala_hpc.engines.training.callbacks import read_running_engine
from hala_hpc.engines.training.kernels import TrainingKernels
from hala_hpc.engines.training.metrics import METRICS, METRICS_FILE, StepFigures, read_metrics
from hala_hpc.engines.training.training_run import Training


class HeldOutPoint(JsonRecord):
    """Loss on the held-out rows after a step."""

    step: int
    loss: float


class LossJump(JsonRecord):
    """A rise of the loss after a resume."""

    step: int
    rise: float
    """As a share of the loss before."""


class TrainingFigures(JsonRecord):
    """`training.json` beside a trained model: figures of the training."""

    steps: int
    epochs: float = 0.0
    tokens_trained: int
    engine: str = ""
    """The engine that actually ran, e.g. `deepspeed zero-2`."""
    ranks: int = 1
    micro_batch_tokens: int | None = None
    """Maximum padded tokens of a pass."""
    passes_per_step: float | None = None
    """Mean of each rank in the last attempt."""
    batch_fill: float | None = None
    """Share of the tokens of the last attempt's passes that were not padding."""
    dtype: str = ""
    kernels: TrainingKernels = Field(default_factory=TrainingKernels)
    """The kernels that actually ran in the last attempt."""
    loss_first: float | None = None
    loss_last: float | None = None
    curve: tuple[CurvePoint, ...] = ()
    held_out_curve: tuple[HeldOutPoint, ...] = ()
    loss_jumps: tuple[LossJump, ...] = ()
    savings: int = 0
    """Checkpoints saved by the last attempt."""
    save_s: float | None = None
    """Seconds to save the last one; None if none was saved."""
    save_every_s: float | None = None
    """Seconds between two checkpoints; None if they are saved by steps only."""


def collect_figures(trainer: Any, training: Training) -> TrainingFigures:
    """Return steps, tokens, curves, engine and kernels of a training. Only on rank 0."""
    state, engine, feed = trainer.state, read_running_engine(trainer), trainer.feed
    metrics = read_metrics(training.state_dir / METRICS / METRICS_FILE)
    points = loss_curve(metrics, training.settings.logging_steps)
    return TrainingFigures(
        steps=state.global_step,
        epochs=round(state.epoch or 0.0, 4),
        tokens_trained=max(line.tokens or 0 for line in metrics),
        engine=engine.name,
        ranks=engine.ranks,
        micro_batch_tokens=feed.cut.micro_batch_tokens,
        passes_per_step=round(feed.passes / (feed.steps * feed.cut.ranks), 2)
        if feed.steps
        else None,
        batch_fill=round(feed.tokens / feed.padded_tokens, 4) if feed.steps else None,
        dtype=training.dtype,
        kernels=trainer.kernel_watch.kernels,
        loss_first=points[0].loss,
        loss_last=points[-1].loss,
        curve=tuple(points),
        held_out_curve=tuple(held_out_curve(metrics)),
        loss_jumps=tuple(loss_jumps(metrics)),
        **trainer.saving.figures(),
    )


def loss_curve(metrics: list[StepFigures], every: int) -> list[CurvePoint]:
    """Return the loss curve: the first step, then means over `every` steps, then the rest."""
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
    """Return the loss on the held-out rows by step."""
    return [
        HeldOutPoint(step=line.step, loss=round(line.held_out_loss, 5))
        for line in metrics
        if line.held_out_loss is not None
    ]


def loss_jumps(metrics: list[StepFigures]) -> list[LossJump]:
    """Return the jumps of the loss after a resume."""
    return [
        LossJump(step=line.step, rise=line.loss_jump)
        for line in metrics
        if line.loss_jump is not None
    ]


def mean_of(lines: list[StepFigures]) -> CurvePoint:
    """Return one point of the curve for several steps."""
    last, seconds = lines[-1], sum(line.step_s or 0.0 for line in lines)
    tokens = sum((line.tokens_per_s or 0.0) * (line.step_s or 0.0) for line in lines)
    return CurvePoint(
        step=last.step,
        loss=round(fmean(line.loss for line in lines if line.loss is not None), 5),
        learning_rate=last.learning_rate,
        tokens_per_s=round(tokens / max(seconds, 1e-6), 1),
    )
