"""TRL's trainer as a training needs it: our order, stopped at any moment, going on exactly."""

import time
from typing import Any

from hala_hpc.core.full_disk import told_if_full
from hala_hpc.core.job_records import CheckpointCommit
from hala_hpc.engines.models.attention import attention_that_runs, is_laid_out
from hala_hpc.engines.training.callbacks import TrainingWatch, as_callback
from hala_hpc.engines.training.checkpoints import commit_checkpoint, prune, staging_folder
from hala_hpc.engines.training.collectives import wait_for_all
from hala_hpc.engines.training.dataset import (
    GlobalBatchOrder,
    TrainingData,
    load,
    make_collator,
    order_of,
    pad_token,
)
from hala_hpc.engines.training.kernels import KernelWatch
from hala_hpc.engines.training.lora import low_rank_config
from hala_hpc.engines.training.metrics import MetricsWatch
from hala_hpc.engines.training.training_run import Attempt

#: Stands for TRL's trainer, which is heavy to import; `make_trainer` puts that in its place.
Base: Any = object


def make_trainer(attempt: Attempt, arguments: Any) -> Any:
    """The trainer of an attempt; its `train` takes the checkpoint to start from."""
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl.trainer.sft_trainer import SFTTrainer

    training, out, settings = attempt.training, attempt.out, attempt.training.settings
    # DeepSpeed keeps float32 copies itself; plain torch needs the weights in float32.
    dtype = training.dtype if settings.zero_stage else "float32"
    model = AutoModelForCausalLM.from_pretrained(
        training.model, dtype=dtype, attn_implementation=training.attention
    )
    data = load(training.tokens)
    order = order_of(data, settings)
    tokenizer = AutoTokenizer.from_pretrained(training.tokenizer)
    one_line = is_laid_out(attention_that_runs(model))
    watch = as_callback(TrainingWatch)(attempt)
    kernel_watch = as_callback(KernelWatch)(training, out)
    trainer = type("ExactTrainer", (ExactTrainer, SFTTrainer), {})(
        attempt,
        data,
        order,
        model=model,
        args=arguments,
        train_dataset=data.train,
        eval_dataset=data.measured_rows(out.world_size * settings.micro_rows(out.world_size)),
        data_collator=make_collator(pad_token(tokenizer), one_line),
        processing_class=tokenizer,
        callbacks=[
            watch,
            kernel_watch,
            as_callback(FeedWatch)(data, order, settings.eval_steps),
            as_callback(MetricsWatch)(training, order, out),
        ],
        peft_config=low_rank_config(settings),
    )
    watch.trainer = trainer
    trainer.kernel_watch = kernel_watch
    return trainer


class ExactTrainer(Base):  # type: ignore[misc]
    """Learns the rows of `data` in `order`, and saves checkpoints that are whole or not there.

    A checkpoint is saved into a staging folder and gets its name once it is verified. The watchdog
    is told at every moment what this rank does.
    """

    def __init__(
        self, attempt: Attempt, data: TrainingData, order: GlobalBatchOrder, **words: Any
    ) -> None:
        self.training, self.out = attempt.training, attempt.out
        self.pulse, self.saving = attempt.pulse, attempt.saving
        self.data, self.order = data, order
        super().__init__(**words)

    def _get_train_sampler(self, *_: Any) -> Any:
        return self.order

    def _run_epoch(self, *words: Any, **named: Any) -> None:
        # The loop of transformers asks only after a step whether it should make one: it would
        # learn on after the last step when the job died between that and the model's commit.
        if self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
        if not self.control.should_training_stop:
            super()._run_epoch(*words, **named)

    def training_step(self, *words: Any, **named: Any) -> Any:
        """One forward and backward pass; its loss is remembered until the ranks vote."""
        self.pulse.enter("computing")
        loss = super().training_step(*words, **named)
        self.pulse.broken = self.pulse.broken + loss.detach()
        self.pulse.enter("reading")
        return loss

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """The loss of a pass; on a CPU by the model's own function, which is the same.

        TRL's fused head saves GPU memory with a Triton kernel. On a CPU its loops in torch took
        half of a step of the demo's models (py-spy, two cores).
        """
        import torch
        from transformers import Trainer

        if num_items_in_batch is None and not self.model.training:
            num_items_in_batch = self._held_out_divisor(len(inputs["input_ids"]))
        words = (model, inputs, return_outputs, num_items_in_batch)
        if torch.cuda.is_available():
            return super().compute_loss(*words)
        return Trainer.compute_loss(self, *words)

    def _held_out_divisor(self, rows: int) -> float:
        """What the summed loss of so many held-out rows is divided by.

        The trainer averages the losses of batches by their rows: with this divisor that is the
        loss of a token over all held-out rows, however they are cut up.
        """
        divisor = self.data.facts.held_out_tokens_learnt * rows / len(self.eval_dataset)
        if self.args.average_tokens_across_devices:
            divisor *= self.args.world_size
        return divisor

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

    def _get_output_dir(self, trial: Any) -> str:
        del trial
        return str(staging_folder(self.training.kept, self.out.attempt))

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        with told_if_full(self.training.kept):
            self._save_verified(model, trial)

    def _save_verified(self, model: Any, trial: Any) -> None:
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

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Nothing where DeepSpeed saves: its checkpoint has the weights already."""
        if not self.is_deepspeed_enabled:
            super().save_model(output_dir, _internal_call)

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """None: the finished model gets its own."""

    def floating_point_ops(self, inputs: Any) -> int:
        """None: nobody reads the sum, and each pass would walk through all weights for it."""
        del inputs
        return 0

    def store_flos(self) -> None:
        """Nothing: at every step it would have all ranks gather what they counted."""


class FeedWatch:
    """A callback of the trainer that turns the order to a new epoch and says when to measure.

    It must come after the callback that stops a training: none that is told to leave measures.
    """

    def __init__(self, data: TrainingData, order: GlobalBatchOrder, eval_steps: int) -> None:
        self.data, self.order = data, order
        self.every = eval_steps or order.batches

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Turn the order."""
        # accelerate does not tell the order through the loader that skips batches after a
        # resume, when there are several ranks (1.15: `BatchSamplerShard` has no `sampler`).
        del args, control
        self.order.set_epoch(state.global_step // self.order.batches)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Say whether to measure."""
        del args
        ended = state.global_step >= state.max_steps
        due = ended or (state.global_step % self.every == 0 and not control.should_training_stop)
        control.should_evaluate = self.data.held_out is not None and due
