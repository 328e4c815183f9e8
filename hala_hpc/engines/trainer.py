"""The trainer of TRL, set up for one training."""

from typing import Any

from hala_hpc.core.stage import Out
from hala_hpc.engines.training import Training
from hala_hpc.engines.training_arguments import make_arguments
from hala_hpc.engines.training_watch import make_watch


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
