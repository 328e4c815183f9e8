"""What a training leaves: the model folder, and the figures beside it."""

import shutil
from pathlib import Path
from typing import Any

from hala_hpc.core.record import Record
from hala_hpc.core.stage import Out
from hala_hpc.engines.evaluation.curve import CurvePoint
from hala_hpc.engines.models.files import carry_config, copy_tokenizer
from hala_hpc.engines.training.lora import merged
from hala_hpc.engines.training.metrics import (
    METRICS,
    HeldOutPoint,
    LossJump,
    curve,
    held_out_curve,
    loss_jumps,
)
from hala_hpc.engines.training.metrics_file import METRICS_FILE, read_metrics
from hala_hpc.engines.training.running_engine import running_engine
from hala_hpc.engines.training.training_run import Training


def save_model(trainer: Any, training: Training, out: Out) -> None:
    """Write weights, config, tokenizer and chat template; every rank must call it."""
    import torch

    folder = out.folder(0)
    # Under ZeRO-3 the ranks send their parts of the weights here.
    weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if out.rank != 0:
        return
    weights = merged(weights, training.settings)
    model = trainer.accelerator.unwrap_model(trainer.model_wrapped)
    if training.settings.lora_rank:
        model = model.get_base_model()
    tied = set(model._tied_weights_keys or ()) if model.config.tie_word_embeddings else set()
    dtype = getattr(torch, training.dtype)
    kept = {name: tensor.to(dtype) for name, tensor in weights.items() if name not in tied}
    model.config.dtype = dtype
    model.save_pretrained(folder, state_dict=kept)
    carry_config(training.model, folder)
    copy_tokenizer(training.model, folder)
    # The template that was learnt may have been supplied to a model that had none.
    copy_tokenizer(training.tokenizer, folder)
    write_generation_config(model, folder)
    shutil.copytree(training.kept / METRICS, folder / METRICS, dirs_exist_ok=True)


def write_generation_config(model: Any, folder: Path) -> None:
    """How the model is asked, where the one it was made of does not say it."""
    if not (folder / "generation_config.json").is_file():
        model.generation_config.save_pretrained(folder)


class TrainingFigures(Record):
    """`training.json` beside a trained model: what the training did."""

    steps: int
    epochs: float = 0.0
    tokens_trained: int
    engine: str = ""
    """The engine that really ran, e.g. `deepspeed zero-2`."""
    ranks: int = 1
    micro_batch_size: int = 1
    accumulation: int = 1
    dtype: str = ""
    loss_first: float | None = None
    loss_last: float | None = None
    curve: tuple[CurvePoint, ...] = ()
    held_out_curve: tuple[HeldOutPoint, ...] = ()
    loss_jumps: tuple[LossJump, ...] = ()
    savings: int = 0
    """Checkpoints that the last attempt saved."""
    save_s: float | None = None
    """What the last one took; None if none was saved."""
    save_every_s: float | None = None
    """Time between two; None if they are saved by steps alone."""


def figures(trainer: Any, training: Training) -> TrainingFigures:
    """What the training did: steps, tokens, the curves, and which engine really ran. Rank 0's."""
    state, engine = trainer.state, running_engine(trainer)
    metrics = read_metrics(training.kept / METRICS / METRICS_FILE)
    points = curve(metrics, training.settings.logging_steps)
    return TrainingFigures(
        steps=state.global_step,
        epochs=round(state.epoch or 0.0, 4),
        tokens_trained=max(line.tokens or 0 for line in metrics),
        engine=engine.name,
        ranks=engine.ranks,
        micro_batch_size=engine.micro_batch_size,
        accumulation=engine.accumulation,
        dtype=training.dtype,
        loss_first=points[0].loss,
        loss_last=points[-1].loss,
        curve=tuple(points),
        held_out_curve=tuple(held_out_curve(metrics)),
        loss_jumps=tuple(loss_jumps(metrics)),
        **trainer.saving.figures(),
    )
