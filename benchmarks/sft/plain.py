"""A plain fine-tuning script with TRL and DeepSpeed, as a lab would write it, for comparison.

One rank of several: `python -m benchmarks.sft.plain SETTINGS`. SETTINGS is JSON with the model, the
file of prompts and completions, sizes, and the file for the times of rank 0's steps. On a CPU it
uses the model's own loss, as `sft` does there: TRL's loops would halve its speed.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from hala_hpc.core.environment import set_job_environment as prepare_libraries
from hala_hpc.engines.training.arguments import set_training_environment

#: The ZeRO-2 configuration from the guides of DeepSpeed and accelerate.
DEEPSPEED: dict[str, Any] = {
    "train_micro_batch_size_per_gpu": "auto",
    "gradient_accumulation_steps": "auto",
    "gradient_clipping": "auto",
    "bf16": {"enabled": False},
    "zero_optimization": {"stage": 2},
    "zero_allow_untested_optimizer": True,
}


def main(settings: dict[str, Any]) -> None:
    """Train for one epoch."""
    prepare_libraries()
    set_training_environment(DEEPSPEED["zero_optimization"]["stage"])
    from datasets import load_dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainerCallback
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    class Clock(TrainerCallback):  # type: ignore[misc]
        """Records when each step ended."""

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            del args, control
            if os.environ["RANK"] == "0":
                with Path(settings["times"]).open("a") as file:
                    file.write(json.dumps({"step": state.global_step, "time": time.time()}) + "\n")

    class CpuTrainer(SFTTrainer):  # type: ignore[misc]
        compute_loss = Trainer.compute_loss

    arguments = SFTConfig(
        output_dir=settings["output"],
        per_device_train_batch_size=settings["micro_rows"],
        gradient_accumulation_steps=settings["accumulation"],
        num_train_epochs=1,
        learning_rate=2e-5,
        max_length=settings["max_length"],
        completion_only_loss=True,
        gradient_checkpointing=False,
        bf16=False,
        use_cpu=True,
        ddp_backend="gloo",
        deepspeed=DEEPSPEED,
        save_strategy="no",
        logging_steps=10,
        report_to="none",
        disable_tqdm=True,
    )
    rows = load_dataset("json", data_files=settings["rows"], split="train")
    trainer = CpuTrainer(
        model=AutoModelForCausalLM.from_pretrained(settings["model"], dtype="float32"),
        args=arguments,
        train_dataset=rows,
        processing_class=AutoTokenizer.from_pretrained(settings["model"]),
        callbacks=[Clock()],
    )
    trainer.train()
    trainer.save_model(settings["output"])
    os._exit(0)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
