"""Which engine really trains: asked of the engine itself, and held against what was asked for.

accelerate can leave DeepSpeed out without a word, and a key of a configuration that nobody reads
is ignored in silence.
"""

from dataclasses import dataclass
from typing import Any

from hala_hpc.core.errors import INTERNAL, UserError
from hala_hpc.core.stage import Out
from hala_hpc.engines.training.training_run import Training


@dataclass(frozen=True)
class TrainingEngine:
    """What trains: which engine, how it cuts up the batch, and how it computes."""

    engine: str
    """deepspeed or torch."""
    zero_stage: int
    """0 where torch trains alone."""
    micro_batch_size: int
    accumulation: int
    ranks: int
    bfloat16: bool
    gradient_clipping: float

    @property
    def name(self) -> str:
        """`torch` or `deepspeed zero-2`."""
        return f"deepspeed zero-{self.zero_stage}" if self.engine == "deepspeed" else "torch"


def running_engine(trainer: Any) -> TrainingEngine:
    """The engine as it tells itself; to be asked once the training has begun."""
    engine = trainer.deepspeed
    if engine is not None:
        return TrainingEngine(
            engine="deepspeed",
            zero_stage=engine.zero_optimization_stage(),
            micro_batch_size=engine.train_micro_batch_size_per_gpu(),
            accumulation=engine.gradient_accumulation_steps(),
            ranks=engine.dp_world_size,
            bfloat16=engine.bfloat16_enabled(),
            gradient_clipping=float(engine.gradient_clipping()),
        )
    from torch import distributed

    arguments = trainer.args
    return TrainingEngine(
        engine="torch",
        zero_stage=0,
        micro_batch_size=arguments.per_device_train_batch_size,
        accumulation=arguments.gradient_accumulation_steps,
        ranks=distributed.get_world_size() if distributed.is_initialized() else 1,
        bfloat16=trainer.accelerator.mixed_precision == "bf16",
        gradient_clipping=float(arguments.max_grad_norm),
    )


def asked_engine(training: Training, out: Out) -> TrainingEngine:
    """The same as the settings ask for it."""
    settings = training.settings
    micro = settings.micro_rows(out.world_size)
    return TrainingEngine(
        engine="deepspeed" if settings.zero_stage else "torch",
        zero_stage=settings.zero_stage,
        micro_batch_size=micro,
        accumulation=settings.global_batch_size // (micro * out.world_size),
        ranks=out.world_size,
        bfloat16=training.dtype == "bfloat16",
        gradient_clipping=float(settings.max_grad_norm),
    )


def require_engine(trainer: Any, training: Training, out: Out) -> None:
    """Raise UserError (70) that names every difference between what runs and what was asked for."""
    runs, asked = vars(running_engine(trainer)), vars(asked_engine(training, out))
    wrong = [
        f"{name}={runs[name]!r} instead of {asked[name]!r}"
        for name in asked
        if runs[name] != asked[name]
    ]
    if wrong:
        raise UserError(
            "another engine runs than was asked for: " + ", ".join(wrong) + "; look for variables "
            "ACCELERATE_* and for other versions of accelerate and deepspeed",
            INTERNAL,
        )
