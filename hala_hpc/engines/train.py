"""Supervised fine-tuning with TRL's trainer, from a token file to a model folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hala_hpc.core.errors import BAD_DATA, UserError
from hala_hpc.core.files import read_json
from hala_hpc.core.stage import Out
from hala_hpc.data.carry_over import carry_config, copy_tokenizer
from hala_hpc.data.tensors import tensor_headers
from hala_hpc.engines.checkpoints import newest_whole, remove_torn
from hala_hpc.engines.deepspeed_setup import deepspeed_config, prepare_environment
from hala_hpc.engines.training_settings import TrainingSettings
from hala_hpc.engines.training_watch import make_watch, wait_for_all


@dataclass(frozen=True)
class Training:
    """One training: what is trained on what, and where it keeps its checkpoints."""

    model: Path
    tokens: Path
    kept: Path
    settings: TrainingSettings

    @property
    def dtype(self) -> str:
        """`float32` or `bfloat16`."""
        if self.settings.dtype != "auto":
            return self.settings.dtype
        types = {dtype for dtype, _ in tensor_headers(self.model).values()}
        return "float32" if types == {"F32"} else "bfloat16"


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


def make_trainer(training: Training, out: Out) -> Any:
    """The trainer of TRL with everything set."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer

    arguments = make_arguments(training, out)
    settings = training.settings
    # DeepSpeed keeps float32 copies itself; plain torch needs the weights in float32.
    load = training.dtype if settings.zero_stage else "float32"
    model = AutoModelForCausalLM.from_pretrained(training.model, dtype=load)
    return trainer_class()(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_file(str(training.tokens)),
        processing_class=AutoTokenizer.from_pretrained(training.model),
        callbacks=[make_watch(settings, training.kept, out)],
    )


def trainer_class() -> Any:
    """TRL's trainer; on a CPU with the model's own loss.

    TRL's fused head saves GPU memory with a Triton kernel. On a CPU its loops in torch took half
    of a step of the demo's models (py-spy, two cores); the model's own loss is the same function.
    """
    import torch
    from transformers import Trainer
    from trl.trainer.sft_trainer import SFTTrainer

    if torch.cuda.is_available():
        return SFTTrainer

    class CpuTrainer(SFTTrainer):
        compute_loss = Trainer.compute_loss

    return CpuTrainer


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
        # Longer rows were rejected before; with packing it is the length of a sequence.
        max_length=settings.max_length if settings.packing else None,
        packing=settings.packing,
        train_sampling_strategy="group_by_length" if settings.group_by_length else "random",
        gradient_checkpointing=settings.gradient_checkpointing,
        # The watch saves and marks; the trainer's own rotation goes by the clocks of file servers.
        save_strategy="no",
        logging_steps=settings.logging_steps,
        logging_first_step=True,
        logging_nan_inf_filter=False,
        include_num_input_tokens_seen="non_padding",
        dataloader_pin_memory=not on_cpu,
        disable_tqdm=True,
        report_to="none",
    )


def save_model(trainer: Any, training: Training, out: Out) -> None:
    """Write weights, config, tokenizer and chat template; every rank must call it."""
    import torch

    folder = out.folder(0)
    # Under ZeRO-3 the ranks send their parts of the weights here.
    weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if out.rank != 0:
        return
    model = trainer.accelerator.unwrap_model(trainer.model_wrapped)
    tied = set(model._tied_weights_keys or ()) if model.config.tie_word_embeddings else set()
    dtype = getattr(torch, training.dtype)
    kept = {name: tensor.to(dtype) for name, tensor in weights.items() if name not in tied}
    model.config.dtype = dtype
    model.save_pretrained(folder, state_dict=kept)
    carry_config(training.model, folder)
    copy_tokenizer(training.model, folder)


def figures(trainer: Any, training: Training) -> dict[str, Any]:
    """What the training did: steps, tokens, the loss curve, and which engine really ran."""
    state = trainer.state
    curve = [
        {
            "step": entry["step"],
            "loss": round(entry["loss"], 5),
            "learning_rate": entry["learning_rate"],
            "tokens_per_s": entry.get("tokens_per_s"),
        }
        for entry in state.log_history
        if "loss" in entry
    ]
    engine = trainer.deepspeed
    # Asked of the engine itself: accelerate can leave DeepSpeed out without a word.
    assert (engine is not None) == (training.settings.zero_stage > 0), "another engine ran"
    stage = engine.zero_optimization_stage() if engine else None
    return {
        "steps": state.global_step,
        "epochs": round(state.epoch or 0.0, 4),
        "tokens_trained": int(state.num_input_tokens_seen),
        "engine": f"deepspeed zero-{stage}" if stage is not None else "torch",
        "dtype": training.dtype,
        "ranks": trainer.args.world_size,
        "loss_first": curve[0]["loss"],
        "loss_last": curve[-1]["loss"],
        "curve": curve,
    }
