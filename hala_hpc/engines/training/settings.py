"""Settings of the training itself, shared by all stages that train."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from hala_hpc.core.settings import StageSettings, runtime
from hala_hpc.engines.models.attention import AUTO, Attention

#: Lower bound of the padded tokens of a pass: about one row.
MIN_PASS_TOKENS = 64
#: After this many halvings 100,000 tokens are one or two rows.
MAX_HALVINGS = 6


def name_snapshot(share: float) -> str:
    """The folder of the model after a share of the training: `snapshot-0.5`."""
    return f"snapshot-{share:g}"


class TrainingSettings(StageSettings):
    """Settings of the trainer. The result depends on the global batch, not on how it is split."""

    epochs: PositiveFloat = 1.0
    """Passes over the rows; ignored if `max_steps` is set."""
    max_steps: PositiveInt | None = None
    """Steps of the optimizer; none: as many as `epochs` need."""
    learning_rate: PositiveFloat = 2e-5
    """Peak learning rate. The paper does not state its own."""
    global_batch_size: PositiveInt = 64
    """Rows of one step over all ranks; with packing, sequences."""
    warmup_ratio: Annotated[float, Field(ge=0, lt=1)] = 0.03
    """Share of the steps for the warmup of the learning rate."""
    lr_scheduler: Literal["cosine", "linear", "constant_with_warmup"] = "cosine"
    """Schedule of the learning rate after the warmup."""
    weight_decay: NonNegativeFloat = 0.0
    """Weight decay of AdamW."""
    max_grad_norm: PositiveFloat = 1.0
    """Gradients are clipped to this norm."""
    seed: int = 0
    """Seed of the order of the rows."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Type of the weights during and after training; auto: float32 if the model has it, else
    bfloat16. The optimizer computes in float32 in both cases."""
    zero_stage: Annotated[int, Field(ge=0, le=3)] = 2
    """Stage of DeepSpeed ZeRO: what is sharded over the ranks. 1: the optimizer's state, 2: also
    the gradients, 3: also the weights. 0: plain torch without DeepSpeed."""
    group_by_length: bool = True
    """Group rows of similar length into a batch: less padding, a less random order. Rows are
    grouped within fifty random batches, and the order of the batches is random. Ignored for
    packed sequences, which have all one length."""

    lora_rank: NonNegativeInt = 0
    """Rank of LoRA's matrices, which are merged into the weights at the end; 0 trains all
    weights. 16 to 64 are usual, with a ten times higher learning rate."""
    lora_alpha: PositiveInt = 32
    """LoRA's update is scaled by this divided by `lora_rank`."""
    lora_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout of the inputs of LoRA's matrices."""
    lora_targets: str | list[str] = "all-linear"
    """Names of the layers with LoRA matrices; all-linear: all linear layers but the output head."""

    snapshots: list[Annotated[float, Field(gt=0, lt=1)]] = Field(default_factory=list)
    """Shares of the training after which the model, as it is then, stays as a model of its own:
    0.5 is `@node/snapshot-0.5`, for a merge of several models of one training."""

    micro_batch_tokens: Annotated[int, Field(ge=MIN_PASS_TOKENS)] | None = runtime(None)
    """Maximum padded tokens of a forward pass of one rank: its rows times the longest of them. A
    longer row is a pass of its own; the passes of a global batch are accumulated. None: as many
    as fit the GPU's memory beside the model (2048 on a CPU)."""
    micro_batch_halvings: Annotated[int, Field(ge=0, le=MAX_HALVINGS)] = runtime(0)
    """How often the `micro_batch_tokens` found for a GPU is halved. Increased for the round after
    an out-of-memory error."""
    gradient_checkpointing: bool = runtime(False)
    """Compute activations twice instead of storing them: a third slower, far less memory."""
    offload: Literal["none", "optimizer", "all"] = runtime("none")
    """What DeepSpeed stores in host memory: the optimizer's state, or with zero_stage=3 also the
    weights (all). For models that do not fit otherwise; slower."""
    attention: Attention = runtime(AUTO)
    """Attention kernel: eager, sdpa, flex_attention, flash_attention_2, flash_attention_3, or
    one of the hub, owner/kernel, which needs the package kernels in the environment. They differ
    in speed, memory and rounding. auto: the default of transformers; for a model with soft-capped
    attention logits (Gemma 2) a kernel that applies the cap: flash attention 2 if installed, else
    flex_attention, on CPUs eager. A kernel that would drop the cap is refused."""
    liger: bool = runtime(True)
    """Use Liger's kernels on a GPU, if they are installed: less memory, same result."""
    logging_steps: PositiveInt = runtime(10)
    """Steps between two points of the loss curve."""
    eval_steps: NonNegativeInt = runtime(0)
    """Steps between two evaluations on the held-out rows; 0: after every epoch. The end of the
    training is always evaluated."""
    save_steps: NonNegativeInt = runtime(0)
    """Steps between two checkpoints; 0: only `save_every_min` decides."""
    save_every_min: NonNegativeFloat | None = runtime(None)
    """Minutes between two checkpoints; none: derived from the time of saving and
    `mean_uptime_min`; 0: only at the end. A checkpoint is always saved at the end, and when the
    job has to stop."""
    mean_uptime_min: PositiveFloat = runtime(240.0)
    """Mean minutes until a job is preempted or fails; see `save_every_min`."""
    keep_checkpoints: PositiveInt = runtime(2)
    """Number of newest checkpoints to keep; all are deleted once the model is finished."""
    step_timeout_min: PositiveFloat = runtime(30.0)
    """Minutes without a step after which the job reports the slow rank and restarts."""

    def result_half(self) -> dict[str, Any]:
        """The settings that change the result; `snapshots` only where there are any.

        Trainings from before there was such a setting are the same without.
        """
        values = super().result_half()
        if not self.snapshots:
            del values["snapshots"]
        return values

    def snapshot_steps(self, max_steps: int) -> dict[int, list[str]]:
        """Names of the snapshots by the step after which they are made, of so many steps."""
        found: dict[int, list[str]] = {}
        for share in self.snapshots:
            step = min(max_steps, max(1, round(share * max_steps)))
            found.setdefault(step, []).append(name_snapshot(share))
        return found

    def offload_faults(self) -> list[str]:
        """Return a line if the stage of ZeRO does not support `offload`."""
        min_stage = {"none": 0, "optimizer": 1, "all": 3}[self.offload]
        if self.zero_stage >= min_stage:
            return []
        return [
            f"offload={self.offload} needs zero_stage={min_stage} or more, not {self.zero_stage}"
        ]

    def batch_faults(self, ranks: int) -> list[str]:
        """Return a line if the global batch is not a multiple of the number of ranks."""
        if self.global_batch_size % ranks == 0:
            return []
        near = max(ranks, self.global_batch_size // ranks * ranks)
        return [
            f"global_batch_size={self.global_batch_size}: not a multiple of the {ranks} ranks; "
            f"set a multiple of {ranks}, e.g. {near}"
        ]

    def smaller_micro_batch(self) -> Self:
        """Return a copy with half as many tokens in a forward pass; unchanged at the minimum."""
        if self.micro_batch_tokens is None:
            halvings = min(self.micro_batch_halvings + 1, MAX_HALVINGS)
            return self.model_copy(update={"micro_batch_halvings": halvings})
        tokens = max(self.micro_batch_tokens // 2, MIN_PASS_TOKENS)
        return self.model_copy(update={"micro_batch_tokens": tokens})
