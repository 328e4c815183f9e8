"""What joins the trainer of TRL to the token files: order of rows, held-out loss."""

from typing import Any

from hala_hpc.engines.training.dataset import GlobalBatchOrder, TrainingData


def fed_by(trainer: Any, data: TrainingData, order: GlobalBatchOrder) -> Any:
    """A class like `trainer` that learns the rows of `data` in `order`."""

    class FedTrainer(trainer):  # type: ignore[misc]
        def _get_train_sampler(self, *_: Any) -> Any:
            return order

        def compute_loss(
            self,
            model: Any,
            inputs: dict[str, Any],
            return_outputs: bool = False,
            num_items_in_batch: Any = None,
        ) -> Any:
            if num_items_in_batch is None and not self.model.training:
                # The trainer averages the losses of batches by their rows: with this divisor that
                # is the loss of a token over all held-out rows, however they are cut up.
                share = len(inputs["input_ids"]) / len(self.eval_dataset)
                num_items_in_batch = data.facts.held_out_tokens_learnt * share
                if self.args.average_tokens_across_devices:
                    num_items_in_batch *= self.args.world_size
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)

    return FedTrainer


def make_feed_watch(data: TrainingData, order: GlobalBatchOrder, eval_steps: int) -> Any:
    """A callback that turns the order to a new epoch and says when to measure.

    It must come after the callback that stops a training: none that is told to leave measures.
    """
    from transformers import TrainerCallback

    every = eval_steps or order.batches

    class FeedWatch(TrainerCallback):  # type: ignore[misc]
        def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            # accelerate does not tell the order through the loader that skips batches after a
            # resume, when there are several ranks (1.15: `BatchSamplerShard` has no `sampler`).
            del args, control
            order.set_epoch(state.global_step // order.batches)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            del args
            ended = state.global_step >= state.max_steps
            due = ended or (state.global_step % every == 0 and not control.should_training_stop)
            control.should_evaluate = data.held_out is not None and due

    return FeedWatch()
