"""Trainer callback between steps: stop, save, report progress, fail if the loss is not finite."""

import logging
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hala_hpc.core.errors import BAD_DATA, INTERNAL, UserError
from hala_hpc.core.full_disk import detect_full_disk
from hala_hpc.core.stage import UnitContext
from hala_hpc.engines.training.checkpoints import list_checkpoints
from hala_hpc.engines.training.collectives import any_rank
from hala_hpc.engines.training.snapshots import save_snapshot
from hala_hpc.engines.training.training_run import Attempt, Training
from hala_hpc.engines.training.universal_checkpoint import (
    is_universal_checkpoint,
    separate_step_counters,
)

logger = logging.getLogger(__name__)


#: Seconds for the exit of a job, in addition to a step and a save that must fit as well.
EXIT_MARGIN_S = 10.0
#: Steps before and after a stop whose mean losses are compared.
COMPARED_STEPS = 5
#: A loss jump is a rise by this many standard deviations of the points before the stop, and by
#: this share of their mean.
JUMP_DEVIATIONS = 4.0
JUMP_SHARE = 0.1


def make_callback_class(callback: type) -> Any:
    """Return a subclass of `callback` and of `TrainerCallback`, which is heavy to import."""
    from transformers import TrainerCallback

    return type(callback.__name__, (callback, TrainerCallback), {})


class TrainingCallback:
    """Trainer callback that stops, saves and checks; called on every rank at the same steps.

    `trainer` is set before the training starts.
    """

    trainer: Any = None

    def __init__(self, attempt: Attempt) -> None:
        self.training, self.out, self.start = attempt.training, attempt.out, attempt.start
        self.heartbeat, self.saving = attempt.heartbeat, attempt.saving
        # Rank 0 alone publishes: the other ranks compile the same kernels.
        self.to_publish = attempt.compiled if self.out.rank == 0 else None
        self.stepped = time.monotonic()
        self.step_s = 0.0
        self.before: list[float] = []
        self.after: list[float] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Verify the running engine and restore the state of the last attempt."""
        require_engine(self.trainer, self.training, self.out)
        if self.start and is_universal_checkpoint(self.start):
            separate_step_counters(self.trainer.deepspeed)
        self.before = last_losses(state)
        self.stepped = self.saving.saved_at = time.monotonic()
        self.heartbeat.step = state.global_step
        self.out.report_progress(steps_total=state.max_steps, step=state.global_step)
        (control.should_training_stop,) = any_rank(args.device, self.out.stop_requested)
        self.heartbeat.set_phase("reading")

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Vote over all ranks whether to stop or save.

        Raises: UserError (BAD_DATA) if the step had no label, or the loss or a gradient is not
        finite.
        """
        import torch

        self.out.report_progress(
            step=state.global_step,
            rows=state.global_step * self.training.settings.global_batch_size,
        )
        self.heartbeat.set_phase("waiting")
        due = save_is_due(self.training.settings.save_steps, state) or self.saving.is_due()
        must_stop = self.out.stop_requested or self.time_is_up()
        nonfinite = ~torch.isfinite(torch.as_tensor(self.heartbeat.nonfinite))
        unlabeled = self.heartbeat.unlabeled
        stop, save, nonfinite, unlabeled = any_rank(
            args.device, must_stop, due, nonfinite, unlabeled
        )
        if unlabeled:
            refuse_unlabeled(state.global_step, self.training)
        if nonfinite:
            refuse_nonfinite(state.global_step, self.training.state_dir)
        now = time.monotonic()
        self.step_s, self.stepped = now - self.stepped, now
        self.heartbeat.nonfinite, self.heartbeat.step = 0.0, state.global_step
        control.should_training_stop = control.should_training_stop or stop
        control.should_save = save or control.should_training_stop
        for name in self.training.settings.snapshot_steps(state.max_steps).get(
            state.global_step, ()
        ):
            self.heartbeat.set_phase("saving")
            # Before a checkpoint of this step: what goes on from there does not come here again.
            with detect_full_disk(self.training.state_dir):
                save_snapshot(self.trainer, self.training, self.out, name)
        if self.to_publish:
            # One step has run every kernel.
            self.to_publish.publish()
            self.to_publish = None
        self.heartbeat.set_phase("reading")

    def time_is_up(self) -> bool:
        """Whether another step would leave too little of the job's time limit for saving."""
        left_s = self.out.seconds_left
        if left_s is None:
            return False
        return left_s < 2 * self.saving.cost_s + 2 * self.step_s + EXIT_MARGIN_S

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **_: Any) -> None:
        """Keep the last losses for the next attempt; warn if the loss jumped after a resume."""
        del args, control
        if "loss" not in logs:
            return
        del state.log_history[:-COMPARED_STEPS]
        self.after.append(logs["loss"])
        if len(self.after) == len(self.before) and (
            rise := measure_loss_jump(self.before, self.after)
        ):
            logs["loss_jump"] = rise
            if self.out.rank == 0:
                logger.warning(
                    "the loss rose by %.0f %% after the training resumed from %s; check the data "
                    "and the learning rate",
                    100 * rise,
                    self.start,
                )


def save_is_due(save_steps: int, state: Any) -> bool:
    """Whether a checkpoint is due at this step, regardless of the time."""
    by_step = save_steps and state.global_step % save_steps == 0
    return bool(by_step) or state.global_step >= state.max_steps


def refuse_unlabeled(step: int, training: Training) -> None:
    """Fail because no token of a step has a label. Raises: UserError (BAD_DATA)."""
    raise UserError(
        f"tokens={training.tokens}: none of the {training.settings.global_batch_size} sequences of "
        f"step {step} has a label, so there is nothing to learn from them; run the tokenize node "
        "again, which writes no such sequences, or remove them from files of another program",
        BAD_DATA,
    )


def refuse_nonfinite(step: int, state_dir: Path) -> None:
    """Fail because a loss or gradient is NaN or infinite. Raises: UserError (BAD_DATA)."""
    last = next(iter(list_checkpoints(state_dir)), None)
    good = f"the last good checkpoint is {last}" if last else "there is no checkpoint yet"
    raise UserError(
        f"the loss or its gradient is not finite at step {step}; lower learning_rate, raise "
        f"warmup_ratio, or set dtype=float32; {good}",
        BAD_DATA,
    )


def last_losses(state: Any) -> list[float]:
    """Return the losses of the last steps recorded in the checkpoint."""
    return [entry["loss"] for entry in state.log_history if "loss" in entry][-COMPARED_STEPS:]


def measure_loss_jump(before: list[float], after: list[float]) -> float:
    """Return the relative rise of the loss after a resume; 0 if it may be chance."""
    mean, now = statistics.fmean(before), statistics.fmean(after)
    spread = statistics.pstdev(before)
    if now - mean <= max(JUMP_DEVIATIONS * spread, JUMP_SHARE * abs(mean)):
        return 0.0
    return round(now / mean - 1, 4)


@dataclass(frozen=True)
class TrainingEngine:
    """The engine of a training, its rows per step, and its precision."""

    engine: str
    """deepspeed or torch."""
    zero_stage: int
    """0 without DeepSpeed."""
    rows_of_rank: int
    """Rows of a step on each rank."""
    ranks: int
    bfloat16: bool
    gradient_clipping: float

    @property
    def name(self) -> str:
        """`torch` or `deepspeed zero-2`."""
        return f"deepspeed zero-{self.zero_stage}" if self.engine == "deepspeed" else "torch"


def read_running_engine(trainer: Any) -> TrainingEngine:
    """Read the engine from the trainer, once the training has started."""
    engine = trainer.deepspeed
    if engine is not None:
        return TrainingEngine(
            engine="deepspeed",
            zero_stage=engine.zero_optimization_stage(),
            rows_of_rank=engine.train_batch_size() // engine.dp_world_size,
            ranks=engine.dp_world_size,
            bfloat16=engine.bfloat16_enabled(),
            gradient_clipping=float(engine.gradient_clipping()),
        )
    from torch import distributed

    arguments = trainer.args
    return TrainingEngine(
        engine="torch",
        zero_stage=0,
        rows_of_rank=arguments.per_device_train_batch_size * arguments.gradient_accumulation_steps,
        ranks=distributed.get_world_size() if distributed.is_initialized() else 1,
        bfloat16=trainer.accelerator.mixed_precision == "bf16",
        gradient_clipping=float(arguments.max_grad_norm),
    )


def expected_engine(training: Training, out: UnitContext) -> TrainingEngine:
    """Return the engine that the settings ask for."""
    settings = training.settings
    return TrainingEngine(
        engine="deepspeed" if settings.zero_stage else "torch",
        zero_stage=settings.zero_stage,
        rows_of_rank=settings.global_batch_size // out.world_size,
        ranks=out.world_size,
        bfloat16=training.dtype == "bfloat16",
        gradient_clipping=float(settings.max_grad_norm),
    )


def require_engine(trainer: Any, training: Training, out: UnitContext) -> None:
    """Compare the running engine with the settings.

    accelerate can silently leave DeepSpeed out, and unknown keys of a configuration are silently
    ignored. So the values are read from the engine itself.

    Raises: UserError (INTERNAL) with every difference.
    """
    runs, expected = vars(read_running_engine(trainer)), vars(expected_engine(training, out))
    wrong = [
        f"{name}={runs[name]!r} instead of {expected[name]!r}"
        for name in expected
        if runs[name] != expected[name]
    ]
    if wrong:
        raise UserError(
            "the running engine differs from the settings: " + ", ".join(wrong) + "; check the "
            "variables ACCELERATE_* and the versions of accelerate and deepspeed",
            INTERNAL,
        )
