"""What the trainer must do so that a training can be stopped at any moment and go on exactly."""

import time
from typing import Any

from hala_hpc.core.job_records import CheckpointCommit
from hala_hpc.core.stage import Out
from hala_hpc.engines.training.checkpoint_interval import SavingClock
from hala_hpc.engines.training.checkpoints import commit_checkpoint, prune, staging_folder
from hala_hpc.engines.training.collectives import wait_for_all
from hala_hpc.engines.training.training_run import Training
from hala_hpc.engines.training.watchdog import StepWatchdog

#: Stands for the trainer's class, which is heavy to import.
Base: Any = object


def stoppable(base: Any, training: Training, out: Out, pulse: StepWatchdog) -> Any:
    """A class like the trainer `base` that saves whole checkpoints and tells where it is."""
    given = {"training": training, "out": out, "pulse": pulse}
    return type("StoppableTrainer", (Stoppable, base), given)


class Stoppable(Base):  # type: ignore[misc]
    """Saves into a staging folder and gives a checkpoint its name once it is verified."""

    training: Training
    out: Out
    pulse: StepWatchdog
    saving: SavingClock

    def _get_output_dir(self, trial: Any) -> str:
        del trial
        return str(staging_folder(self.training.kept, self.out.attempt))

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """None: the finished model gets its own."""

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Nothing where DeepSpeed saves: its checkpoint has the weights already."""
        if not self.is_deepspeed_enabled:
            super().save_model(output_dir, _internal_call)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        began = time.monotonic()
        self.pulse.enter("saving")
        name = f"checkpoint-{self.state.global_step}"
        staged = staging_folder(self.training.kept, self.out.attempt) / name
        super()._save_checkpoint(model, trial)
        # All files are there before any rank looks for them.
        wait_for_all()
        facts = CheckpointCommit(
            step=self.state.global_step,
            world_size=self.out.world_size,
            zero_stage=self.training.settings.zero_stage,
            seconds=round(time.monotonic() - began, 3),
            files={},
        )
        commit_checkpoint(staged, self.training.kept / name, facts, self.out.require_lease)
        if self.out.rank == 0:
            prune(self.training.kept, self.training.settings.keep_checkpoints)
        self.saving.note(time.monotonic() - began)
        self.out.progress(**{k: v for k, v in self.saving.figures().items() if v is not None})
        self.pulse.enter("reading")

    def _run_epoch(self, *words: Any, **named: Any) -> None:
        # The loop of transformers asks only after a step whether it should make one: it would
        # learn on after the last step when the job died between that and the model's commit.
        if self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
        if not self.control.should_training_stop:
            super()._run_epoch(*words, **named)

    def floating_point_ops(self, inputs: Any) -> int:
        """None: nobody reads the sum, and each pass would walk through all weights for it."""
        del inputs
        return 0

    def store_flos(self) -> None:
        """Nothing: at every step it would have all ranks gather what they counted."""

    def training_step(self, *words: Any, **named: Any) -> Any:
        """One forward and backward pass; its loss is remembered until the ranks vote."""
        self.pulse.enter("computing")
        loss = super().training_step(*words, **named)
        self.pulse.broken = self.pulse.broken + loss.detach()
        self.pulse.enter("reading")
        return loss

    def _get_grad_norm(self, *words: Any, **named: Any) -> Any:
        norm = super()._get_grad_norm(*words, **named)
        # Gradients can be broken where the loss is still a number; the weights are, then.
        self.pulse.broken = self.pulse.broken + (0.0 if norm is None else norm)
        return norm

    def evaluate(self, *words: Any, **named: Any) -> Any:
        """Measure, however long that takes."""
        self.pulse.enter("evaluating")
        found = super().evaluate(*words, **named)
        self.pulse.enter("reading")
        return found
