"""Supervised fine-tuning with TRL's trainer, from token files to a model folder."""

from typing import Any

from hala_hpc.core.errors import BAD_DATA, UserError
from hala_hpc.core.files import read_json
from hala_hpc.core.stage import Out
from hala_hpc.engines.checkpoints import newest_whole, remove_torn
from hala_hpc.engines.deepspeed_setup import prepare_environment
from hala_hpc.engines.trained_model import figures, save_model
from hala_hpc.engines.trainer import make_trainer
from hala_hpc.engines.training import Training
from hala_hpc.engines.training_watch import wait_for_all


def train(training: Training, out: Out) -> dict[str, Any] | None:
    """Train to the end, from the newest whole checkpoint; write the model to `out.folder(0)`.

    Returns the figures of the training, or None when it was told to stop (a checkpoint is saved).
    Raises UserError for a compressed model, packing that leaks and a loss that is no number.
    """
    refuse_unfit(training, out.world_size)
    prepare_environment(training.settings.zero_stage)
    start, torn = newest_whole(training.kept, out.world_size)
    if out.rank == 0:
        print("\n".join([*torn, f"starting from {start or training.model}"]), flush=True)
    trainer = make_trainer(training, out)
    wait_for_all()
    if out.rank == 0:
        remove_torn(training.kept)
    wait_for_all()
    trainer.train(resume_from_checkpoint=str(start) if start else None)
    if trainer.state.global_step < trainer.state.max_steps:
        return None
    save_model(trainer, training, out)
    return figures(trainer, training)


def refuse_unfit(training: Training, ranks: int) -> None:
    """Raise UserError for what would train wrongly without a word."""
    # Once more: a launcher may have started fewer ranks than the recipe asked for.
    if faults := training.settings.batch_faults(ranks):
        raise UserError(faults)
    config: dict[str, Any] = read_json(training.model / "config.json")
    if "quantization_config" in config:
        raise UserError(
            f"model {training.model} is compressed and cannot be trained; give the model before "
            "it was quantized",
            BAD_DATA,
        )
    # Measured: the second row of a packed sequence sees the end of the first one, because
    # transformers drops the row borders where the CUDA kernel of the convolution is absent.
    if training.settings.packing and config.get("model_type") == "lfm2":
        raise UserError(
            "packing=true: rows of one sequence leak into each other in LFM2's convolutions; "
            "use packing=false (group_by_length saves most of the padding)"
        )
