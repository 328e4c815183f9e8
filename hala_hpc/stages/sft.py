"""sft: fine-tune a model on token files (TRL's SFTTrainer with DeepSpeed ZeRO)."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hala_hpc.core.errors import BAD_DATA, CONFIG, INTERNAL, NO_INPUT, UserError
from hala_hpc.core.estimate import Amount, Estimate, EstimateInputs
from hala_hpc.core.rehearsal import STEPS, cap_setting
from hala_hpc.core.resources import Resources
from hala_hpc.core.settings import ModelRef, StageSettings, TokensRef
from hala_hpc.core.stage import Stage, UnitContext, UnitCounts
from hala_hpc.engines.models.attention import attention_faults, may_load_from_hub
from hala_hpc.engines.models.files import local_model, require_model, require_safetensors
from hala_hpc.engines.models.shape import read_shape
from hala_hpc.engines.training.lora import lora_faults
from hala_hpc.engines.training.settings import TrainingSettings, name_snapshot
from hala_hpc.engines.training.tokens.names import TOKENS_FILE, TokenFacts
from hala_hpc.engines.training.training_fit import training_fit
from hala_hpc.engines.training.training_time import (
    Cluster,
    TrainedModel,
    TrainingAmount,
    estimate_training_time,
)

#: Metrics of the training, next to the weights.
FIGURES_FILE = "training.json"
#: Bytes of a checkpoint per byte of bfloat16 weights: the weights, their float32 copy and two
#: Adam moments, 2 + 4 + 4 + 4 bytes per parameter.
CHECKPOINT_FACTOR = 14 / 2


class Settings(TrainingSettings):
    """Settings of sft."""

    model: ModelRef
    """The model to fine-tune: hub id, folder or `@node`."""
    tokens: TokensRef
    """Training data: `@node` of a tokenize node, or a folder that one wrote. Tokenizer and chat
    template of the trained model come from there."""
    resources: Resources = Resources(cpus_per_rank=8, mem_gb=64)
    """Resources of the job; nodes x ranks_per_node is the number of ranks (world size)."""


class Sft(Stage[Settings]):
    """A stage of one unit: the tuned model, which all ranks train together."""

    name = "sft"
    version = 5
    produces = "model"
    Settings = Settings

    @classmethod
    def outputs_beside(cls, settings: StageSettings) -> tuple[str, ...]:
        """The models of some steps."""
        shares = settings.snapshots if isinstance(settings, TrainingSettings) else ()
        return tuple(name_snapshot(share) for share in shares)

    def preflight(self) -> list[str]:
        """Find a batch that does not divide among ranks, missing weights, and unusable tokens."""
        require_model(self.settings.model)
        model = self.inputs.path(self.settings.model)
        require_safetensors(model, f"model={self.settings.model}")
        faults = self.settings.batch_faults(self.resources.world_size)
        faults += self.settings.offload_faults()
        faults += lora_faults(model, self.settings)
        faults += attention_faults({"model": model}, self.settings.attention)
        folder = Path(self.inputs.path(self.settings.tokens)).expanduser()
        facts = TokenFacts.read(folder / TOKENS_FILE)
        # A node's tokens may not exist yet.
        if facts is None and not self.settings.tokens.startswith("@"):
            raise UserError(
                f"tokens={self.settings.tokens}: no {TOKENS_FILE} in that folder; give the folder "
                "that a tokenize node wrote, or @node",
                NO_INPUT,
            )
        if facts and facts.packing:
            from hala_hpc.engines.training.tokens.packing_check import packing_faults

            faults += packing_faults(model, self.settings.model)
        return faults

    def kernels(self, python: str) -> list[str]:
        """The hub kernels that `attention` names."""
        if not may_load_from_hub(self.settings.attention):
            return []
        from hala_hpc.engines.models.kernels import attention_kernels

        return attention_kernels(self.settings.attention, python)

    def estimate(self, inputs: EstimateInputs) -> Estimate:
        """The tuned model, its checkpoints, and the seconds derived from the model's shape."""
        settings = self.settings
        model, size = inputs.largest_model([settings.model]), inputs.size_bytes([settings.model])
        # The checkpoints on disk and the one being written; those of LoRA are small.
        number = 0 if settings.lora_rank else settings.keep_checkpoints + 1
        checkpoint = inputs.checkpoint(settings.model)
        seconds, breakdown, amount = None, "", self.training_amount(inputs)
        if model and amount:
            trained = TrainedModel(model, read_shape(checkpoint.config if checkpoint else None))
            cluster = Cluster(self.resources, inputs.capacity.gpu_name, inputs.throughput)
            time, breakdown = estimate_training_time(trained, amount, settings, cluster)
            seconds = time.seconds
        need, misfits = training_fit(checkpoint, settings, self.resources, inputs.capacity)
        output = Amount(None, model, size, checkpoint)
        checkpoint_bytes = number * CHECKPOINT_FACTOR * size + len(settings.snapshots) * size
        return Estimate(
            output,
            model,
            seconds,
            checkpoint_bytes,
            hours_breakdown=breakdown,
            need=need,
            misfits=misfits,
            work=amount.tokens if amount else None,
        )

    def training_amount(self, inputs: EstimateInputs) -> TrainingAmount | None:
        """Tokens, rows and sequences of all epochs; None if unknown.

        Unknown for a folder of token files: the bytes of a token depend on its columns.
        """
        settings = self.settings
        text = inputs.text(settings.tokens) if settings.tokens.startswith("@") else None
        if text is None or not text.rows:
            return None
        sequences = text.sequences or text.rows
        times = settings.epochs
        if settings.max_steps:
            times = settings.max_steps * settings.global_batch_size / sequences
        return TrainingAmount(text.source * times, text.rows * times, sequences * times)

    def rehearsed(self) -> StageSettings:
        """The same training with a few steps."""
        steps = cap_setting(self.settings.max_steps, STEPS)
        return self.settings.model_copy(update={"max_steps": steps})

    def smaller_batch(self, world_size: int) -> StageSettings:
        """Half the tokens in a forward pass of a rank."""
        del world_size
        return self.settings.smaller_micro_batch()

    def run(self, units: Iterable[int], out: UnitContext) -> None:
        """Train on all ranks, resuming from the newest complete checkpoint."""
        from hala_hpc.engines.training.checkpoints import remove_all_checkpoints
        from hala_hpc.engines.training.sft import train
        from hala_hpc.engines.training.training_run import Training

        model = local_model(self.inputs.path(self.settings.model))
        require_model(str(model))
        require_safetensors(model, f"model={model}")
        if faults := lora_faults(model, self.settings):
            raise UserError(faults, CONFIG)
        tokens = Path(self.inputs.path(self.settings.tokens))
        for unit in units:
            figures = train(Training(model, tokens, out.state_dir(unit), self.settings), out)
            if figures is None:
                return
            figures.write(out.folder(unit) / FIGURES_FILE)
            out.commit(unit)
            remove_all_checkpoints(out.state_dir(unit))

    def check(self, unit: int, folder: Path) -> UnitCounts:
        """Check that the model is complete and finite; count the rows it was trained on."""
        from hala_hpc.engines.models.tensors import require_finite, weight_bytes
        from hala_hpc.engines.training.dataset import (
            load_training_data,
            make_batch_order,
            rows_seen,
        )
        from hala_hpc.engines.training.figures import TrainingFigures

        require_model(str(folder), f"unit {unit}")
        require_finite(folder)
        for name in self.outputs_beside(self.settings):
            require_model(str(folder / name), f"unit {unit}, {name}")
            require_finite(folder / name)
        figures = TrainingFigures.read(folder / FIGURES_FILE)
        if figures is None:
            raise UserError(f"unit {unit}: {FIGURES_FILE} is missing", INTERNAL)
        data = load_training_data(Path(self.inputs.path(self.settings.tokens)))
        seen = rows_seen(data, make_batch_order(data, self.settings), figures.steps)
        rows = data.facts.rows
        if not seen:
            raise UserError(f"the model was trained on none of {rows} rows", BAD_DATA)
        # max_steps or a fractional epoch ended the training before these rows.
        unseen = {"not_reached": rows - seen} if rows > seen else {}
        return UnitCounts(
            rows_in=rows,
            rows_out=seen,
            rows_rejected=rows - seen,
            rejected=unseen,
            tokens_in=figures.tokens_trained,
            details={
                **figures.to_values(),
                "tokens": data.facts.tokens,
                "loss_tokens": data.facts.loss_tokens,
                "bytes": weight_bytes(folder),
            },
        )

    @classmethod
    def summary_line(cls, details: Mapping[str, Any]) -> str:
        """Steps, ranks, engine, data type and loss of the training."""
        from hala_hpc.engines.evaluation.report import DASH

        if "loss_last" not in details:
            return ""
        return (
            f"{details.get('steps', DASH)} steps on {details.get('ranks', DASH)} ranks, "
            f"{details.get('engine', DASH)}, {details.get('dtype', DASH)}: "
            f"loss {details['loss_first']:.3f} to {details['loss_last']:.3f}"
        )


STAGE = Sft
