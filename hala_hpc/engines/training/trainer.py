"""TRL's trainer with our order of rows; it can stop at any step and resumes exactly."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from operator import itemgetter
from typing import Any

from hala_hpc.core.full_disk import detect_full_disk
from hala_hpc.core.job_records import CheckpointCommit
from hala_hpc.engines.models.attention import is_padding_free, read_running_attention
from hala_hpc.engines.training.callbacks import TrainingCallback, make_callback_class
from hala_hpc.engines.training.checkpoints import (
    commit_checkpoint,
    prune_checkpoints,
    staging_folder,
)
from hala_hpc.engines.training.collectives import sum_across_ranks, wait_for_all_ranks
from hala_hpc.engines.training.dataset import (
    TrainingData,
    find_pad_token_id,
    load_training_data,
    make_batch_order,
    make_collator,
)
from hala_hpc.engines.training.feed import HeldOutFeed, StepFeed
from hala_hpc.engines.training.kernels import KernelCallback
from hala_hpc.engines.training.lora import make_lora_config
from hala_hpc.engines.training.metrics import MetricsCallback
from hala_hpc.engines.training.micro_batch import make_step_cut
from hala_hpc.engines.training.training_run import Attempt

#: Placeholder for TRL's trainer, which is heavy to import; `make_trainer` adds it as a base.
Base: Any = object


def make_trainer(attempt: Attempt, arguments: Any) -> Any:
    """Return the trainer of an attempt; its `train` takes the checkpoint to resume from."""
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl.trainer.sft_trainer import SFTTrainer

    training, out, settings = attempt.training, attempt.out, attempt.training.settings
    # DeepSpeed stores float32 copies itself; plain torch needs the weights in float32.
    dtype = training.dtype if settings.zero_stage else "float32"
    model = AutoModelForCausalLM.from_pretrained(
        training.model, dtype=dtype, attn_implementation=training.attention
    )
    data = load_training_data(training.tokens)
    order = make_batch_order(data, settings)
    tokenizer = AutoTokenizer.from_pretrained(training.tokenizer)
    padding_free = is_padding_free(read_running_attention(model))
    collate = make_collator(find_pad_token_id(tokenizer), padding_free)
    cut = make_step_cut(out.world_size, attempt.micro_batch_tokens)
    feed = StepFeed(data, order, collate, cut, out.rank)
    watch = make_callback_class(TrainingCallback)(attempt)
    kernel_watch = make_callback_class(KernelCallback)(training, out)
    trainer = type("ExactTrainer", (ExactTrainer, SFTTrainer), {})(
        attempt,
        data,
        feed,
        model=model,
        args=arguments,
        train_dataset=data.train,
        data_collator=collate,
        processing_class=tokenizer,
        callbacks=[
            watch,
            kernel_watch,
            make_callback_class(FeedCallback)(data, feed, settings.eval_steps),
            make_callback_class(MetricsCallback)(training, order, out),
        ],
        peft_config=make_lora_config(settings),
    )
    watch.trainer = trainer
    trainer.kernel_watch = kernel_watch
    return trainer


class ExactTrainer(Base):  # type: ignore[misc]
    """Trains the steps of `feed` pass by pass, and saves checkpoints atomically.

    A batch of transformers' trainer is a whole step here: a list of passes. So the trainer
    accumulates nothing itself, and each step may have another number of passes. A checkpoint is
    saved into a staging folder and renamed once it is verified. The watchdog always knows the
    current phase of this rank.
    """

    fused_head: bool | None = None
    """Whether TRL's fused head computes the loss; None: on GPUs only."""

    def __init__(self, attempt: Attempt, data: TrainingData, feed: StepFeed, **kwargs: Any) -> None:
        self.training, self.out = attempt.training, attempt.out
        self.heartbeat, self.saving = attempt.heartbeat, attempt.saving
        self.data, self.feed = data, feed
        self.held_out: HeldOutFeed | None = None
        super().__init__(**kwargs)
        # On a CPU the model's own loss equals that of TRL's fused head, whose loops in torch took
        # half of a step of the demo's models (py-spy, two cores).
        self.loss_kwargs = {} if self.uses_model_loss() else {"fused_lm_head": True}
        # TRL's head accepts them, whatever the model accepts.
        self.model_accepts_loss_kwargs = True

    def uses_model_loss(self) -> bool:
        """Whether a pass uses the loss of the model itself, and not that of TRL's fused head."""
        import torch

        fused = torch.cuda.is_available() if self.fused_head is None else self.fused_head
        # Only TRL adds the auxiliary loss of experts, and divides by the tokens of all passes if
        # the model does not accept their number.
        return not (fused or self.aux_loss_enabled or not self.model_accepts_loss_kwargs)

    def get_train_dataloader(self) -> Any:
        """Return a loader with one batch for each step: a list of passes."""
        from torch.utils.data import DataLoader

        # Every rank reads its own part: accelerate has nothing to distribute.
        pin = self.args.dataloader_pin_memory
        return DataLoader(self.feed, batch_size=1, collate_fn=itemgetter(0), pin_memory=pin)

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: Any
    ) -> tuple[list[Any], Any]:
        """Return the passes of a step, and the number of its loss tokens over all ranks.

        The passes are copied to the device before the first one runs, when nothing waits for it.
        A step without loss tokens sets `unlabeled`, until the ranks vote.
        """
        del num_batches
        passes = self._prepare_input(next(epoch_iterator))
        loss_tokens = self._get_num_items_in_batch(passes, device)
        self.heartbeat.unlabeled = loss_tokens == 0
        # The loss is zero then, not 0 / 0.
        return [passes], loss_tokens.clamp(min=1)

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        # transformers' loop checks only after a step whether to stop. It would train on after the
        # last step if the job died between that step and the commit of the model.
        if self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
        if not self.control.should_training_stop:
            super()._run_epoch(*args, **kwargs)

    def training_step(self, model: Any, inputs: list[Any], num_items_in_batch: Any = None) -> Any:
        """Run the passes of a step, forward and backward; return their loss.

        The loss is also added to `nonfinite`, until the ranks vote.
        """
        # The auxiliary loss of a mixture of experts in a pass is divided by this.
        self.current_gradient_accumulation_steps = len(inputs)
        loss: Any = 0.0
        for number, one in enumerate(inputs, 1):
            self.heartbeat.set_phase("computing")
            with self._pass(model, is_last=number == len(inputs)):
                loss = loss + super().training_step(model, one, num_items_in_batch)
        self.heartbeat.nonfinite = self.heartbeat.nonfinite + loss
        self.heartbeat.set_phase("reading")
        return loss

    def _pass(self, model: Any, is_last: bool) -> AbstractContextManager[Any]:
        """Return the context of a pass: gradients are reduced after the last pass of a step.

        ZeRO-2 and 3 reduce them after every pass, into the shard of each rank.
        """
        # accelerate passes this on to DeepSpeed when it computes the gradients.
        self.accelerator.gradient_state._set_sync_gradients(is_last)
        if is_last or self.is_deepspeed_enabled:
            return nullcontext()
        found: AbstractContextManager[Any] = self.accelerator.no_sync(model=model)
        return found

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Return the loss of a pass: the sum over its tokens, divided by all ranks' loss tokens.

        TRL's own function also computes entropy and token accuracy, with three reductions over
        all ranks and four copies to the host in every pass. Only the auxiliary loss of experts
        needs it.
        """
        from transformers import Trainer

        options = (return_outputs, num_items_in_batch)
        if self.aux_loss_enabled and self.model.training:
            return super().compute_loss(model, inputs, *options)
        return Trainer.compute_loss(self, model, {**inputs, **self.loss_kwargs}, *options)

    def held_out_loss(self) -> float:
        """Return the mean loss per token over all held-out rows, for any split. Collective."""
        import torch

        if self.held_out is None:
            cut, rank = self.feed.cut, self.out.rank
            self.held_out = HeldOutFeed(self.data, self.feed.collate, cut, rank)
        # Each pass is divided by the tokens of all passes, so that a sum gives the mean.
        loss_tokens = self.data.facts.held_out_loss_tokens
        if self.args.average_tokens_across_devices:
            loss_tokens *= self.args.world_size
        loss = torch.zeros((), device=self.args.device)
        self.model.eval()
        for one in self.held_out:
            inputs = self._prepare_inputs(one)
            if self.aux_loss_enabled:
                # Without the auxiliary loss of experts, which is a mean over passes and not a sum.
                inputs["output_router_logits"] = False
            with torch.no_grad(), self.compute_loss_context_manager():
                loss += self.compute_loss(self.model, inputs, num_items_in_batch=loss_tokens)
        return sum_across_ranks(loss)

    def _get_grad_norm(self, *args: Any, **kwargs: Any) -> Any:
        norm = super()._get_grad_norm(*args, **kwargs)
        # Gradients can be non-finite while the loss is finite; the weights then become so, too.
        self.heartbeat.nonfinite = self.heartbeat.nonfinite + (0.0 if norm is None else norm)
        return norm

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Evaluate on the held-out rows, without the step timeout, and log the loss."""
        self.heartbeat.set_phase("evaluating")
        found = {"eval_loss": self.held_out_loss()}
        self.log(found)
        self.callback_handler.on_evaluate(self.args, self.state, self.control, found)
        self.heartbeat.set_phase("reading")
        return found

    def _get_output_dir(self, trial: Any) -> str:
        del trial
        return str(staging_folder(self.training.state_dir, self.out.attempt))

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        with detect_full_disk(self.training.state_dir):
            self._save_verified(model, trial)

    def _save_verified(self, model: Any, trial: Any) -> None:
        began = time.monotonic()
        self.heartbeat.set_phase("saving")
        name = f"checkpoint-{self.state.global_step}"
        staged = staging_folder(self.training.state_dir, self.out.attempt) / name
        super()._save_checkpoint(model, trial)
        # All files exist before any rank lists them.
        wait_for_all_ranks()
        facts = CheckpointCommit(
            step=self.state.global_step,
            world_size=self.out.world_size,
            zero_stage=self.training.settings.zero_stage,
            seconds=round(time.monotonic() - began, 3),
            files={},
        )
        commit_checkpoint(staged, self.training.state_dir / name, facts, self.out.check_lease)
        if self.out.rank == 0:
            prune_checkpoints(self.training.state_dir, self.training.settings.keep_checkpoints)
        self.saving.record_saving(time.monotonic() - began)
        self.out.report_progress(
            **{k: v for k, v in self.saving.figures().items() if v is not None}
        )
        self.heartbeat.set_phase("reading")

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the weights; with DeepSpeed do nothing, as its checkpoint has them already."""
        if not self.is_deepspeed_enabled:
            super().save_model(output_dir, _internal_call)

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Do nothing: the finished model gets its own card."""

    def floating_point_ops(self, inputs: Any) -> int:
        """Return 0: the sum is not used, and each pass would iterate over all weights for it."""
        del inputs
        return 0

    def store_flos(self) -> None:
        """Do nothing: it would gather the counts of all ranks at every step."""


class FeedCallback:
    """Trainer callback that sets the epoch of the feed and decides when to evaluate.

    It must come after the callback that stops a training: a training that stops is not evaluated.
    """

    def __init__(self, data: TrainingData, feed: StepFeed, eval_steps: int) -> None:
        self.data, self.feed = data, feed
        self.every = eval_steps or len(feed)

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Set the epoch of the feed."""
        del args, control
        self.feed.set_epoch(state.global_step // len(self.feed))

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Decide whether to evaluate."""
        del args
        ended = state.global_step >= state.max_steps
        due = ended or (state.global_step % self.every == 0 and not control.should_training_stop)
        control.should_evaluate = self.data.held_out is not None and due
