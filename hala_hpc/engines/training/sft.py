"""Supervised fine-tuning with TRL's trainer, from token files to a model folder."""

import logging
import shutil
from pathlib import Path
from typing import Any

from hala_hpc.core.errors import BAD_DATA, RankLost, StopRequested, UserError
from hala_hpc.core.files import read_json
from hala_hpc.core.full_disk import detect_full_disk
from hala_hpc.core.stage import UnitContext
from hala_hpc.engines.models.compile_cache import CompileCache, seed_file, torch_facts
from hala_hpc.engines.models.tensors import weight_bytes
from hala_hpc.engines.training.arguments import make_sft_config, set_training_environment
from hala_hpc.engines.training.checkpoint_interval import SavingClock
from hala_hpc.engines.training.checkpoints import (
    find_newest_verified,
    read_commit,
    remove_leftovers,
    staging_folder,
)
from hala_hpc.engines.training.collectives import (
    any_rank,
    is_lost_rank,
    min_across_ranks,
    run_on_all_ranks,
)
from hala_hpc.engines.training.dataset import read_facts
from hala_hpc.engines.training.export import save_model, write_card
from hala_hpc.engines.training.figures import TrainingFigures, collect_figures
from hala_hpc.engines.training.micro_batch import choose_micro_batch_tokens
from hala_hpc.engines.training.tokens.packing_check import refuse_leak
from hala_hpc.engines.training.tokens.product import vocabulary_digest
from hala_hpc.engines.training.trainer import make_trainer
from hala_hpc.engines.training.training_run import Attempt, Training
from hala_hpc.engines.training.universal_checkpoint import (
    convert_for_ranks,
    is_universal_checkpoint,
    request_universal_checkpoint,
)
from hala_hpc.engines.training.watchdog import StepWatchdog

logger = logging.getLogger(__name__)


def train(training: Training, out: UnitContext) -> TrainingFigures | None:
    """Train to the end, from the newest verified checkpoint; write the model to `out.folder(0)`.

    Returns the figures of the training on rank 0, None on the others. If the job has to stop, a
    checkpoint is saved and rank 0 raises StopRequested. Every rank raises RankLost if another one
    is lost.

    Raises: UserError if the model is compressed, the tokens have another vocabulary, packed rows
    leak, the loss is not finite, or the engine differs from the settings.
    """
    refuse_untrainable(training, out.world_size)
    set_training_environment(training.settings.zero_stage)
    facts = torch_facts("training", [training.model])
    # Another attention implementation compiles other kernels.
    facts["attention"] = training.attention
    with CompileCache(seed_file(out.cache, facts)) as compiled:
        # Its trial compiles kernels, too.
        require_matching_tokens(training)
        return run_watched(training, out, compiled)


def run_watched(
    training: Training, out: UnitContext, compiled: CompileCache
) -> TrainingFigures | None:
    """Run one attempt under the watchdog, then remove its staging folder."""
    limit_s = 60 * training.settings.step_timeout_min
    with StepWatchdog(training.state_dir, out, limit_s) as heartbeat:
        try:
            return run_attempt(training, out, heartbeat, compiled)
        except RuntimeError as error:
            if is_lost_rank(error):
                raise RankLost(f"another rank is lost: {error}") from error
            raise
        finally:
            # Empty if every save succeeded; the files of a failed save take space of the next one.
            shutil.rmtree(staging_folder(training.state_dir, out.attempt), ignore_errors=True)


def run_attempt(
    training: Training, out: UnitContext, heartbeat: StepWatchdog, compiled: CompileCache
) -> TrainingFigures | None:
    """Run one attempt: find the checkpoint, train from it, save the model."""
    arguments = make_sft_config(training, out)  # the ranks wait for each other here
    if any(any_rank(arguments.device, out.stop_requested)):
        raise_stop_requested(out, "before the first step")
        return None
    start = find_start(training, out)
    if start and is_universal_checkpoint(start):
        request_universal_checkpoint(arguments)
    saving = SavingClock(training.settings, weight_bytes(training.model))
    if start:
        commit = read_commit(start)
        saving.cost_s = commit.seconds if commit and commit.seconds else saving.cost_s
    # A node with GPUs of another size would plan other passes.
    tokens = min_across_ranks(arguments.device, choose_micro_batch_tokens(training, out.world_size))
    if out.rank == 0:
        logger.info("a pass has at most %d tokens, with padding", tokens)
    attempt = Attempt(training, out, heartbeat, saving, compiled, start, tokens)
    trainer = make_trainer(attempt, arguments)
    trainer.train(resume_from_checkpoint=str(start) if start else None)
    heartbeat.set_phase("saving")
    if trainer.state.global_step < trainer.state.max_steps:
        raise_stop_requested(
            out, f"at step {trainer.state.global_step} of {trainer.state.max_steps}"
        )
        return None
    with detect_full_disk(training.state_dir):
        save_model(trainer, training, out)
        if out.rank != 0:
            return None
        result = collect_figures(trainer, training)
        write_card(out.folder(0), training, result)
        return result


def raise_stop_requested(out: UnitContext, where: str) -> None:
    """Raise StopRequested on rank 0, whichever rank received the stop; the others just return.

    A rank that exits with an error makes the scheduler end the others, and rank 0 may have to
    wait until the scheduler has requeued the job.
    """
    if out.rank == 0:
        raise StopRequested(f"stop requested {where}; the progress is saved")


def find_start(training: Training, out: UnitContext) -> Path | None:
    """Return the checkpoint to resume from, converted for these ranks. Collective."""
    start, torn = find_newest_verified(training.state_dir)

    def clean() -> None:
        if out.rank == 0:
            out.check_lease()
            remove_leftovers(training.state_dir, start)

    run_on_all_ranks(clean)
    if start:
        with detect_full_disk(training.state_dir):
            start = convert_for_ranks(start, out)
    if out.rank == 0:
        for line in torn:
            logger.warning("%s", line)
        logger.info("starting from %s", start or training.model)
    return start


def refuse_untrainable(training: Training, ranks: int) -> None:
    """Check the batch size and the model. Raises: UserError if the training would be wrong."""
    # Checked again: a launcher may have started fewer ranks than the recipe asks for.
    if faults := training.settings.batch_faults(ranks):
        raise UserError(faults)
    config: dict[str, Any] = read_json(training.model / "config.json")
    if "quantization_config" in config:
        raise UserError(
            f"model {training.model}: it is quantized and cannot be trained; give the model before "
            "quantization",
            BAD_DATA,
        )


def require_matching_tokens(training: Training) -> None:
    """Check that the model fits the tokens. Raises: UserError (BAD_DATA) if it does not.

    There must be labels, the vocabularies must be equal, and packed rows must stay separate in the
    model.
    """
    from transformers import AutoTokenizer

    model, tokens = training.model, training.tokens
    facts = read_facts(tokens)
    for name, sequences, loss_tokens in (
        ("training", facts.sequences, facts.loss_tokens),
        ("held-out", facts.held_out_sequences, facts.held_out_loss_tokens),
    ):
        if sequences and not loss_tokens:
            raise UserError(
                f"tokens={tokens}: none of the {sequences} {name} sequences has a label, so there "
                "is no loss; run the tokenize node again on rows with turns of the assistant",
                BAD_DATA,
            )
    config: dict[str, Any] = read_json(model / "config.json")
    known = config.get("vocab_size") or config.get("text_config", {}).get("vocab_size")
    if known is not None and facts.largest_token >= known:
        raise UserError(
            f"{tokens}: it has token id {facts.largest_token}, but {model} has only {known} "
            "tokens; let the tokenize node use the tokenizer of this model",
            BAD_DATA,
        )
    if vocabulary_digest(AutoTokenizer.from_pretrained(model)) != facts.vocabulary:
        raise UserError(
            f"{tokens}: it was made with another vocabulary than that of {model}, so its token ids "
            "mean other tokens there; let the tokenize node use the tokenizer of this model",
            BAD_DATA,
        )
    if facts.packing:
        refuse_leak(model, training.attention)
