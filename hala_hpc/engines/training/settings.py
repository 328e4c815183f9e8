"""What a stage that trains can be told about the training itself."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from hala_hpc.core.settings import StageSettings, runtime
from hala_hpc.engines.models.attention import AUTO, Attention

#: Fewer padded tokens than these no pass is cut down to: they are about one row anyway.
MIN_PASS_TOKENS = 64
#: Halvings after which 100,000 tokens are a row or two.
MAX_HALVINGS = 6


def name_snapshot(share: float) -> str:
    """The folder of the model after a share of the training: `snapshot-0.5`."""
    return f"snapshot-{share:g}"


class TrainingSettings(StageSettings):
    """How the trainer runs. The global batch decides the result, not how it is cut up."""

    epochs: PositiveFloat = 1.0
    """Passes over the rows; not heeded when `max_steps` is set."""
    max_steps: PositiveInt | None = None
    """Steps of the optimizer; none leaves it to `epochs`."""
    learning_rate: PositiveFloat = 2e-5
    """Highest learning rate. The paper does not tell its own."""
    global_batch_size: PositiveInt = 64
    """Rows of one step over all ranks; where the tokenize node packed them, sequences."""
    warmup_ratio: Annotated[float, Field(ge=0, lt=1)] = 0.03
    """Share of the steps in which the learning rate rises."""
    lr_scheduler: Literal["cosine", "linear", "constant_with_warmup"] = "cosine"
    """How the learning rate goes on from its highest."""
    weight_decay: NonNegativeFloat = 0.0
    """Pull of AdamW towards zero."""
    max_grad_norm: PositiveFloat = 1.0
    """Longer gradients are cut to this length."""
    seed: int = 0
    """Decides the order of the rows."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Type of the weights while training and after; auto: float32 if the model is, else bfloat16.
    The optimizer counts in float32 either way."""
    zero_stage: Annotated[int, Field(ge=0, le=3)] = 2
    """Stage of DeepSpeed ZeRO: what is cut up over the ranks. 1: the optimizer's state, 2: the
    gradients as well, 3: the weights as well. 0: plain torch without DeepSpeed."""
    group_by_length: bool = True
    """Rows of like length share a batch: less padding, an order less random. The fifty batches
    among which they are gathered, and the order of the batches, are random. Not heeded for packed
    sequences, which are all of one length."""

    lora_rank: NonNegativeInt = 0
    """Train matrices of this rank beside the weights (LoRA), added to them in the end; 0 trains all
    weights. 16 to 64 are usual, with a tenfold learning rate."""
    lora_alpha: PositiveInt = 32
    """What LoRA adds is scaled by this over `lora_rank`."""
    lora_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the inputs of LoRA's matrices that is left out at random."""
    lora_targets: str | list[str] = "all-linear"
    """Names of the layers that get matrices; all-linear: every one but the output head."""

    snapshots: list[Annotated[float, Field(gt=0, lt=1)]] = Field(default_factory=list)
    """Shares of the training after which the model, as it is then, stays as a model of its own:
    0.5 is `@node/snapshot-0.5`, for a merge of several models of one training."""

    micro_batch_tokens: Annotated[int, Field(ge=MIN_PASS_TOKENS)] | None = runtime(None)
    """Padded tokens of one forward pass of one rank at most: its rows times the longest of them. A
    longer row is a pass alone; the other passes of the global batch are accumulated. None takes
    what the GPU's memory has room for beside the model (2048 on a CPU)."""
    micro_batch_halvings: Annotated[int, Field(ge=0, le=MAX_HALVINGS)] = runtime(0)
    """How often the `micro_batch_tokens` that was found for a GPU is halved. A round after one in
    which the memory was too small counts it up."""
    gradient_checkpointing: bool = runtime(False)
    """Compute activations twice instead of keeping them: a third slower, far less memory."""
    offload: Literal["none", "optimizer", "all"] = runtime("none")
    """What DeepSpeed keeps in the memory of the host: the optimizer's state, with zero_stage=3 the
    weights as well (all). For models that do not fit otherwise; slower."""
    attention: Attention = runtime(AUTO)
    """Kernel of attention: eager, sdpa, flex_attention, flash_attention_2, flash_attention_3, or
    one of the hub, owner/kernel, for which the environment needs the package kernels. They differ
    in speed and memory, and in rounding. auto: the one of transformers; for a model that caps the
    logits of its attention (Gemma 2) one that applies the cap, flash attention 2 where it is
    there, else flex_attention, on CPUs eager. One that would drop the cap is refused."""
    liger: bool = runtime(True)
    """Use Liger's kernels where there is a GPU and they are installed: less memory, same result."""
    logging_steps: PositiveInt = runtime(10)
    """Steps between two points of the loss curve."""
    eval_steps: NonNegativeInt = runtime(0)
    """Steps between two losses on the held-out rows; 0 measures after every epoch. It is always
    measured at the end."""
    save_steps: NonNegativeInt = runtime(0)
    """Steps between two checkpoints; 0 leaves it to `save_every_min`."""
    save_every_min: NonNegativeFloat | None = runtime(None)
    """Minutes between two checkpoints; none decides by what saving costs and `mean_uptime_min`, 0
    saves at the end alone. One is always saved there, and when the job has to leave."""
    mean_uptime_min: PositiveFloat = runtime(240.0)
    """Minutes that a job runs on average before it is preempted or dies; see `save_every_min`."""
    keep_checkpoints: PositiveInt = runtime(2)
    """Newest checkpoints that are kept; all are deleted once the model is finished."""
    step_timeout_min: PositiveFloat = runtime(30.0)
    """Minutes without a step after which the job names who is behind and starts anew."""

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
        """A line when `offload` asks for what the stage of ZeRO cannot do."""
        min_stage = {"none": 0, "optimizer": 1, "all": 3}[self.offload]
        if self.zero_stage >= min_stage:
            return []
        return [
            f"offload={self.offload} needs zero_stage={min_stage} or more, not {self.zero_stage}"
        ]

    def batch_faults(self, ranks: int) -> list[str]:
        """A line when the global batch cannot be cut into equal parts for so many ranks."""
        if self.global_batch_size % ranks == 0:
            return []
        near = max(ranks, self.global_batch_size // ranks * ranks)
        return [
            f"global_batch_size={self.global_batch_size} does not divide by {ranks} ranks; take a "
            f"multiple of {ranks}, e.g. {near}"
        ]

    def smaller_micro_batch(self) -> Self:
        """The same with half as many tokens in a forward pass; unchanged where it is one row."""
        if self.micro_batch_tokens is None:
            halvings = min(self.micro_batch_halvings + 1, MAX_HALVINGS)
            return self.model_copy(update={"micro_batch_halvings": halvings})
        tokens = max(self.micro_batch_tokens // 2, MIN_PASS_TOKENS)
        return self.model_copy(update={"micro_batch_tokens": tokens})
