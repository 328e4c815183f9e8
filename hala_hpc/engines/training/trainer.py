"""The trainer of TRL, set up for one training."""

from typing import Any

from hala_hpc.core.stage import Out
from hala_hpc.engines.training.callbacks import make_watch
from hala_hpc.engines.training.checkpoint_interval import SavingClock
from hala_hpc.engines.training.dataset import load, make_collator, order_of, pad_token
from hala_hpc.engines.training.lora import low_rank_config
from hala_hpc.engines.training.metrics import make_metrics_watch
from hala_hpc.engines.training.stoppable_trainer import stoppable
from hala_hpc.engines.training.trainer_feed import fed_by, make_feed_watch
from hala_hpc.engines.training.training_run import Training
from hala_hpc.engines.training.watchdog import StepWatchdog


def make_trainer(
    training: Training, out: Out, arguments: Any, pulse: StepWatchdog, saving: SavingClock
) -> Any:
    """The trainer of TRL with everything set but `watch.start`, the checkpoint to go on from."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    settings = training.settings
    # DeepSpeed keeps float32 copies itself; plain torch needs the weights in float32.
    dtype = training.dtype if settings.zero_stage else "float32"
    model = AutoModelForCausalLM.from_pretrained(training.model, dtype=dtype)
    data = load(training.tokens)
    order = order_of(data, settings)
    tokenizer = AutoTokenizer.from_pretrained(training.tokenizer)
    one_line = "flash" in (model.config._attn_implementation or "")
    watch = make_watch(training, out, pulse, saving)
    kind = stoppable(fed_by(trainer_class(), data, order), training, out, pulse)
    trainer = kind(
        model=model,
        args=arguments,
        train_dataset=data.train,
        eval_dataset=data.measured_rows(out.world_size * settings.micro_rows(out.world_size)),
        data_collator=make_collator(pad_token(tokenizer), one_line),
        processing_class=tokenizer,
        callbacks=[
            watch,
            make_feed_watch(data, order, settings.eval_steps),
            make_metrics_watch(training, order, out),
        ],
        peft_config=low_rank_config(settings),
    )
    trainer.saving, trainer.watch, watch.trainer = saving, watch, trainer
    return trainer


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
