"""DeepSpeed and torch.distributed as they must be told, on GPUs and on the CPU."""

import os
from typing import Any

from hala_hpc.core.ports import free_port
from hala_hpc.engines.training.settings import TrainingSettings

#: Elements that ZeRO reduces at once: 200 MB in float32. Its own default takes 2 GB.
BUCKET_ELEMENTS = 50_000_000


def prepare_environment(zero_stage: int) -> None:
    """Set what accelerate and DeepSpeed read from the environment while they are imported.

    A worker with several ranks has set RANK and the others already; a lone rank is on its own.
    """
    import torch

    os.environ["ACCELERATE_USE_DEEPSPEED"] = "true" if zero_stage else "false"
    # With ACCELERATE_USE_CPU accelerate leaves DeepSpeed out without a word.
    os.environ.pop("ACCELERATE_USE_CPU", None)
    if not torch.cuda.is_available():
        os.environ["DS_ACCELERATOR"] = "cpu"
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 and zero_stage:
        os.environ.update(RANK="0", LOCAL_RANK="0", WORLD_SIZE="1", MASTER_ADDR="127.0.0.1")
        os.environ["MASTER_PORT"] = str(free_port())
    if zero_stage:
        forgo_compiled_ops()


def forgo_compiled_ops() -> None:
    """Tell DeepSpeed that none of its C++ operators can be had.

    It would look for compilers and build a shared-memory reduction at run time, half a minute in
    a folder that all jobs share. Torch's AdamW and collectives serve.
    """
    import deepspeed
    from deepspeed.ops.op_builder.all_ops import ALL_OPS

    none = dict.fromkeys(ALL_OPS, False) | {"deepspeed_not_implemented": False}
    setattr(deepspeed.ops, "__compatible_ops__", none)  # noqa: B010 (a name that Python mangles)


def deepspeed_config(settings: TrainingSettings, world_size: int, bfloat16: bool) -> dict[str, Any]:
    """The configuration of DeepSpeed; numbers throughout, never "auto"."""
    micro = settings.micro_rows(world_size)
    return {
        "train_micro_batch_size_per_gpu": micro,
        "gradient_accumulation_steps": settings.global_batch_size // (micro * world_size),
        "gradient_clipping": settings.max_grad_norm,
        "bf16": {"enabled": bfloat16},
        "zero_optimization": {
            "stage": settings.zero_stage,
            "reduce_bucket_size": BUCKET_ELEMENTS,
            "allgather_bucket_size": BUCKET_ELEMENTS,
            # Rank 0 gets all weights when they are saved.
            "stage3_gather_16bit_weights_on_model_save": True,
            **offloading(settings),
        },
        # DeepSpeed's own Adam for the CPU would have to be compiled first.
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 1_000_000,
    }


def offloading(settings: TrainingSettings) -> dict[str, Any]:
    """What goes to the memory of the host, in DeepSpeed's words."""
    to_host = {"device": "cpu", "pin_memory": True}
    parts = {"none": [], "optimizer": ["optimizer"], "all": ["optimizer", "param"]}
    return {f"offload_{part}": to_host for part in parts[settings.offload]}
