"""Convert training settings into the configuration of TRL, DeepSpeed and torch.distributed."""

import os
from importlib.util import find_spec
from typing import Any

from hala_hpc.core.ports import find_free_port
from hala_hpc.core.stage import UnitContext
from hala_hpc.engines.training.rank_memory import BUCKET_ELEMENTS
from hala_hpc.engines.training.settings import TrainingSettings
from hala_hpc.engines.training.training_run import Training


def set_training_environment(zero_stage: int) -> None:
    """Set the variables that accelerate and DeepSpeed read while they are imported.

    With several ranks the worker has set RANK and the related variables already; a single rank
    sets them here.
    """
    import torch

    os.environ["ACCELERATE_USE_DEEPSPEED"] = "true" if zero_stage else "false"
    # With ACCELERATE_USE_CPU accelerate silently leaves DeepSpeed out.
    os.environ.pop("ACCELERATE_USE_CPU", None)
    if not torch.cuda.is_available():
        os.environ["DS_ACCELERATOR"] = "cpu"
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 and zero_stage:
        os.environ.update(RANK="0", LOCAL_RANK="0", WORLD_SIZE="1", MASTER_ADDR="127.0.0.1")
        os.environ["MASTER_PORT"] = str(find_free_port())
    if zero_stage:
        disable_compiled_ops()


def disable_compiled_ops() -> None:
    """Declare all C++ operators of DeepSpeed as unavailable.

    DeepSpeed would look for compilers and build a shared-memory reduction at run time. That takes
    half a minute, in a folder that all jobs share. Torch's AdamW and collectives are used instead.
    """
    import deepspeed
    from deepspeed.ops.op_builder.all_ops import ALL_OPS

    none = dict.fromkeys(ALL_OPS, False) | {"deepspeed_not_implemented": False}
    setattr(deepspeed.ops, "__compatible_ops__", none)  # noqa: B010 (a name that Python mangles)


def deepspeed_config(settings: TrainingSettings, world_size: int, bfloat16: bool) -> dict[str, Any]:
    """Return the configuration of DeepSpeed: numbers everywhere, never "auto".

    A step counts as one batch here: `trainer` splits it into passes and flags the last one.
    """
    return {
        "train_micro_batch_size_per_gpu": settings.global_batch_size // world_size,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": settings.max_grad_norm,
        "bf16": {"enabled": bfloat16},
        "zero_optimization": {
            "stage": settings.zero_stage,
            "reduce_bucket_size": BUCKET_ELEMENTS,
            "allgather_bucket_size": BUCKET_ELEMENTS,
            # Rank 0 gathers all weights when they are saved.
            "stage3_gather_16bit_weights_on_model_save": True,
            **offload_config(settings),
        },
        # DeepSpeed's own Adam for the CPU would have to be compiled first.
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 1_000_000,
    }


def offload_config(settings: TrainingSettings) -> dict[str, Any]:
    """Return the entries of DeepSpeed's configuration that offload state to host memory."""
    to_host = {"device": "cpu", "pin_memory": True}
    parts = {"none": [], "optimizer": ["optimizer"], "all": ["optimizer", "param"]}
    return {f"offload_{part}": to_host for part in parts[settings.offload]}


def make_sft_config(training: Training, out: UnitContext) -> Any:
    """Return the settings as TRL's `SFTConfig`."""
    import torch
    from trl.trainer.sft_config import SFTConfig

    settings, bfloat16 = training.settings, training.dtype == "bfloat16"
    config = deepspeed_config(settings, out.world_size, bfloat16)
    on_cpu = not torch.cuda.is_available()
    return SFTConfig(
        output_dir=str(training.state_dir),
        # A batch of the trainer is a whole step; the trainer splits it into passes.
        per_device_train_batch_size=settings.global_batch_size // out.world_size,
        gradient_accumulation_steps=1,
        num_train_epochs=settings.epochs,
        max_steps=settings.max_steps or -1,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.lr_scheduler,
        warmup_steps=settings.warmup_ratio,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        seed=settings.seed,
        bf16=bfloat16,
        use_cpu=on_cpu,
        ddp_backend="gloo" if on_cpu and out.world_size > 1 else None,
        ddp_find_unused_parameters=False,
        deepspeed=config if settings.zero_stage else None,
        # The rows are tokenized, cut and packed already.
        dataset_kwargs={"skip_prepare_dataset": True},
        max_length=None,
        gradient_checkpointing=settings.gradient_checkpointing,
        use_liger_kernel=settings.liger and not on_cpu and find_spec("liger_kernel") is not None,
        # `TrainingCallback` saves and commits; the trainer's own rotation depends on the clocks of
        # file servers.
        save_strategy="no",
        # Every step goes into the metrics file, from which the loss curve is made.
        logging_steps=1,
        logging_first_step=True,
        logging_nan_inf_filter=False,
        # Known from the order of the rows; the trainer would gather it from all ranks after each
        # pass.
        include_num_input_tokens_seen="no",
        dataloader_pin_memory=not on_cpu,
        disable_tqdm=True,
        report_to="none",
    )
