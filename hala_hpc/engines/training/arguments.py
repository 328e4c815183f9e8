"""The settings of a training in TRL's words."""

from importlib.util import find_spec
from typing import Any

from hala_hpc.core.stage import Out
from hala_hpc.engines.training.deepspeed import deepspeed_config
from hala_hpc.engines.training.training_run import Training


def make_arguments(training: Training, out: Out) -> Any:
    """The settings in TRL's words."""
    import torch
    from trl.trainer.sft_config import SFTConfig

    settings, bfloat16 = training.settings, training.dtype == "bfloat16"
    micro = settings.micro_rows(out.world_size)
    config = deepspeed_config(settings, out.world_size, bfloat16)
    on_cpu = not torch.cuda.is_available()
    return SFTConfig(
        output_dir=str(training.kept),
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=settings.global_batch_size // (out.world_size * micro),
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
        per_device_eval_batch_size=micro,
        # The rows are tokens already, cut and packed as they are learnt.
        dataset_kwargs={"skip_prepare_dataset": True},
        max_length=None,
        gradient_checkpointing=settings.gradient_checkpointing,
        use_liger_kernel=settings.liger and not on_cpu and find_spec("liger_kernel") is not None,
        # The watch saves and marks; the trainer's own rotation goes by the clocks of file servers.
        save_strategy="no",
        # Every step goes into the metrics file; the curve is made of that.
        logging_steps=1,
        logging_first_step=True,
        logging_nan_inf_filter=False,
        # Known from the order of the rows; the trainer would ask all ranks after each pass.
        include_num_input_tokens_seen="no",
        dataloader_pin_memory=not on_cpu,
        disable_tqdm=True,
        report_to="none",
    )
