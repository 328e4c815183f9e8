"""What is done between the steps of a training: stop, save, tell, and refuse a broken loss."""

import math
import time
from pathlib import Path
from typing import Any

from hala_hpc.core.errors import BAD_DATA, UserError
from hala_hpc.core.stage import Out
from hala_hpc.engines.checkpoints import commit_checkpoint, prune
from hala_hpc.engines.training_settings import TrainingSettings


def make_watch(settings: TrainingSettings, checkpoints: Path, out: Out) -> Any:
    """A callback for the trainer (made in a function: its base class is heavy to import)."""
    from transformers import TrainerCallback

    class Watch(TrainerCallback):  # type: ignore[misc]
        """Calls are made on every rank at the same steps."""

        def __init__(self) -> None:
            self.saved = self.logged = time.monotonic()
            self.tokens = 0.0

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            del args, control
            self.logged, self.tokens = time.monotonic(), state.num_input_tokens_seen
            out.progress(steps_total=state.max_steps, step=state.global_step)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            out.progress(step=state.global_step, rows=state.global_step * rows_a_step)
            due = save_is_due(settings, state, time.monotonic() - self.saved)
            stop, save = any_rank(args.device, out.stop, due)
            control.should_training_stop = control.should_training_stop or stop
            control.should_save = save or control.should_training_stop

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            del args, control
            wait_for_all()
            if out.rank == 0:
                name = f"checkpoint-{state.global_step}"
                commit_checkpoint(checkpoints / name, out.world_size)
                prune(checkpoints)
            self.saved = time.monotonic()

        def on_log(
            self, args: Any, state: Any, control: Any, logs: dict[str, Any], **_: Any
        ) -> None:
            del args, control
            if "loss" not in logs:
                return
            require_number(logs["loss"], state.global_step)
            now, tokens = time.monotonic(), state.num_input_tokens_seen
            rate = (tokens - self.tokens) / max(now - self.logged, 1e-6)
            self.logged, self.tokens = now, tokens
            # The entry that the checkpoint keeps: the curve survives a restart.
            state.log_history[-1]["tokens_per_s"] = round(rate, 1)
            out.progress(loss=logs["loss"], tokens=tokens)

    rows_a_step = settings.global_batch_size
    return Watch()


def save_is_due(settings: TrainingSettings, state: Any, seconds: float) -> bool:
    """Whether a checkpoint is to be saved now."""
    by_step = settings.save_steps and state.global_step % settings.save_steps == 0
    by_time = settings.save_every_min and seconds >= 60 * settings.save_every_min
    return bool(by_step or by_time) or state.global_step >= state.max_steps


def any_rank(device: Any, *flags: bool) -> list[bool]:
    """Each flag, set when it is set on any rank, so that all ranks do the same."""
    import torch
    from torch import distributed

    if not distributed.is_initialized():
        return list(flags)
    votes = torch.tensor([int(flag) for flag in flags], device=device)
    distributed.all_reduce(votes, op=distributed.ReduceOp.MAX)
    return [bool(vote) for vote in votes.tolist()]


def wait_for_all() -> None:
    """Return when every rank is here."""
    from torch import distributed

    if distributed.is_initialized():
        distributed.barrier()


def require_number(loss: float, step: int) -> None:
    """Raise UserError 65 for a loss that is NaN or infinite."""
    if not math.isfinite(loss):
        raise UserError(
            f"the loss is {loss} at step {step}: the training broke; lower learning_rate, raise "
            "warmup_ratio, or set dtype=float32",
            BAD_DATA,
        )
