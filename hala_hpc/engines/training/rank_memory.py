"""Estimate the GPU memory of a training rank from the model's shape and the settings.

The states follow `engines/models/memory.py`, the pass `pass_memory.py`. Here DeepSpeed's and CUDA's
memory is added, and the maximum tokens of a pass are derived. Plain arithmetic: nothing is loaded.
The estimate was not verified on GPUs; a job that still runs out of memory halves its passes.
"""

from bisect import bisect_right
from pathlib import Path
from typing import NamedTuple

from hala_hpc.core.errors import CONFIG, UserError
from hala_hpc.engines.models.files import read_object
from hala_hpc.engines.models.memory import GB, Sharding, format_gb, training_bytes
from hala_hpc.engines.models.shape import ModelShape, read_shape
from hala_hpc.engines.training.pass_memory import Pass, activation_bytes, head_bytes
from hala_hpc.engines.training.settings import TrainingSettings

#: The CUDA context with its kernels, the buffers of NCCL and the workspace of cuBLAS (assumed).
CONTEXT_BYTES = 2 * GB
#: Share of a GPU left free for fragmentation of the allocator (assumed).
RESERVE = 0.1
#: Elements that ZeRO reduces or gathers at once: 200 MB in float32. ZeRO's default takes 2 GB.
BUCKET_ELEMENTS = 50_000_000
#: Maximum weights that ZeRO-3 has gathered at the same time (DeepSpeed 0.19.8,
#: `stage3_max_live_parameters`).
LIVE_WEIGHTS = 1_000_000_000
#: Tokens of a pass are a multiple of the first and at most the second: more are no faster.
TOKEN_MULTIPLE, MAX_PASS_TOKENS = 1024, 65536
#: Smaller sizes would be printed as 0.0 GB.
MIN_SHOWN_BYTES = GB / 20
#: Tokens of a row of unknown length: the recipe's `max_length` (assumed).
ROW_TOKENS = 4096


class RankMemory(NamedTuple):
    """GPU memory of a rank during training, in bytes."""

    weights: float
    gradients: float
    optimizer: float
    """States of the optimizer, with the float32 copy of the weights."""
    activations: float
    head: float
    """Logits of a tile, and the gradients of the output head."""
    buckets: float
    """Buffers of what is reduced or gathered at once."""
    step: float
    """Memory of the optimizer's step, after activations and head are freed."""
    context: float = CONTEXT_BYTES

    @property
    def total(self) -> float:
        """Peak memory."""
        lasting = self.weights + self.gradients + self.optimizer + self.buckets + self.context
        return lasting + max(self.activations + self.head, self.step)

    def describe(self) -> str:
        """Return the parts and their sum as text, in GB of 2^30 bytes."""
        parts = {
            "weights": self.weights,
            "gradients": self.gradients,
            "optimizer": self.optimizer,
            "activations": self.activations,
            "head": self.head,
            "buckets and context": self.buckets + self.context,
        }
        terms = [
            f"{name} {size / GB:.1f}" for name, size in parts.items() if size >= MIN_SHOWN_BYTES
        ]
        sum_text = " + ".join(terms)
        return f"{sum_text} = {format_gb(self.total)}"


class MemoryOption(NamedTuple):
    """Settings that change the memory of a training."""

    zero_stage: int
    gradient_checkpointing: bool

    def describe(self) -> str:
        """Return the settings as text."""
        checkpointing = str(self.gradient_checkpointing).lower()
        return f"zero_stage={self.zero_stage} and gradient_checkpointing={checkpointing}"

    def is_faster_than(self, other: "MemoryOption") -> bool:
        """Whether it computes or sends less; stages 1 and 2 are equal with one pass a step."""
        mine, others = (
            (option.zero_stage == ZERO_WEIGHTS, option.gradient_checkpointing)
            for option in (self, other)
        )
        return mine < others


#: The stage of ZeRO that shards the weights.
ZERO_WEIGHTS = 3
#: Options from the fastest to the slowest. Sharded gradients are reduced after every pass and not
#: once a step. Activations computed twice cost a third of the arithmetic. Sharded weights add half
#: as much traffic again, in every pass.
MEMORY_OPTIONS = (
    MemoryOption(1, False),
    MemoryOption(2, False),
    MemoryOption(1, True),
    MemoryOption(2, True),
    MemoryOption(3, False),
    MemoryOption(3, True),
)


def rank_memory(
    shape: ModelShape, settings: TrainingSettings, ranks: int, tokens: int, row_tokens: int
) -> RankMemory:
    """Return a rank's memory with passes of `tokens` padded tokens, in rows of `row_tokens`."""
    is_lora = settings.lora_rank > 0
    in_float32 = trains_in_float32(settings, shape.is_float32)
    sharding = Sharding(settings.zero_stage, ranks, settings.offload, in_float32, is_lora)
    states = training_bytes(shape.weights, sharding)
    is_autocast = settings.zero_stage == 0 and not in_float32
    work = Pass(
        tokens,
        row_tokens,
        in_float32,
        settings.gradient_checkpointing,
        is_autocast,
        # SDPA has no soft-capping.
        "flex_attention" if shape.soft_capped else "sdpa",
    )
    return RankMemory(
        weights=states.weights,
        gradients=states.gradients,
        optimizer=states.states,
        activations=activation_bytes(shape, work),
        head=head_bytes(shape, work, is_trained=not is_lora),
        buckets=bucket_bytes(shape, sharding, work),
        step=0.0 if is_lora or settings.offload != "none" else float32_gradients(shape, sharding),
    )


def bucket_bytes(shape: ModelShape, sharding: Sharding, work: Pass) -> float:
    """Return DeepSpeed's buckets; with plain torch on several ranks all gradients."""
    if sharding.zero_stage == 0:
        return 4.0 * shape.weights if sharding.ranks > 1 and not sharding.is_lora else 0.0
    buckets = 2.0 * BUCKET_ELEMENTS * work.item
    if sharding.zero_stage < 3:
        return buckets
    # The head needs its whole weight, of any size.
    return buckets + work.item * (min(LIVE_WEIGHTS, shape.weights) + shape.table)


def float32_gradients(shape: ModelShape, sharding: Sharding) -> float:
    """Return the float32 copy of a rank's gradients in DeepSpeed's step; torch steps in place."""
    return 4.0 * shape.weights / sharding.ranks if sharding.zero_stage else 0.0


def trains_in_float32(settings: TrainingSettings, stored_in_float32: bool) -> bool:
    """Whether a training computes in float32, by the settings or the type of the checkpoint."""
    return settings.dtype == "float32" or (settings.dtype == "auto" and stored_in_float32)


def max_pass_tokens(
    shape: ModelShape,
    settings: TrainingSettings,
    ranks: int,
    gpu_memory_bytes: int,
    row_tokens: int = ROW_TOKENS,
) -> int:
    """Return the maximum tokens of a pass that fit a GPU with the reserve; 0 if none fit."""
    numbers = range(TOKEN_MULTIPLE, MAX_PASS_TOKENS + 1, TOKEN_MULTIPLE)

    def taken(tokens: int) -> float:
        return rank_memory(shape, settings, ranks, tokens, min(row_tokens, tokens)).total

    fitting = bisect_right(numbers, usable_bytes(gpu_memory_bytes), key=taken)
    return numbers[fitting - 1] if fitting else 0


def usable_bytes(gpu_memory_bytes: float) -> float:
    """Return the bytes of a GPU without the reserve."""
    return gpu_memory_bytes * (1 - RESERVE)


def fitting_micro_batch_tokens(
    model: Path,
    settings: TrainingSettings,
    ranks: int,
    gpu_memory_bytes: int,
    row_tokens: int = ROW_TOKENS,
) -> int:
    """Return the maximum padded tokens of a rank's forward pass that fit, a multiple of 1024.

    `model` is a folder with a config.json, `gpu_memory_bytes` the whole memory of a rank's share of
    a GPU, `row_tokens` the longest row. A tenth of the memory stays free.

    Raises: UserError (CONFIG) if config.json does not define the shape, or not even one row fits.
    """
    shape = read_shape(read_object(model / "config.json"))
    if shape is None:
        raise UserError(
            f"micro_batch_tokens: {model}/config.json does not define the shape of a dense model, "
            "so the number of tokens that fit is unknown; set micro_batch_tokens",
            CONFIG,
        )
    taken = rank_memory(shape, settings, ranks, row_tokens, row_tokens)
    if taken.total <= usable_bytes(gpu_memory_bytes):
        return max_pass_tokens(shape, settings, ranks, gpu_memory_bytes, row_tokens) or row_tokens
    raise UserError(
        f"a row of {row_tokens} tokens does not fit a GPU of {format_gb(gpu_memory_bytes)} with "
        f"zero_stage={settings.zero_stage}, gradient_checkpointing="
        f"{str(settings.gradient_checkpointing).lower()}, offload={settings.offload} and {ranks} "
        f"ranks: {taken.describe()}, and {RESERVE:.0%} stay free; "
        f"{suggest_row_fix(shape, settings, ranks, gpu_memory_bytes, row_tokens)}",
        CONFIG,
    )


def suggest_row_fix(
    shape: ModelShape,
    settings: TrainingSettings,
    ranks: int,
    gpu_memory_bytes: int,
    row_tokens: int,
) -> str:
    """Return the settings with which a row fits, as text."""
    option = find_fastest_option(shape, settings, ranks, gpu_memory_bytes, row_tokens)
    if option is None:
        return "use more or larger GPUs, shorter rows (max_length of tokenize), or offload=all"
    return f"set {option.describe()}"


def find_fastest_option(
    shape: ModelShape,
    settings: TrainingSettings,
    ranks: int,
    gpu_memory_bytes: int,
    tokens: int,
) -> MemoryOption | None:
    """Return the fastest stage of ZeRO and checkpointing with which a row of `tokens` fits."""
    for option in MEMORY_OPTIONS:
        changed = settings.model_copy(update=option._asdict())
        taken = rank_memory(shape, changed, ranks, tokens, min(tokens, ROW_TOKENS))
        if taken.total <= usable_bytes(gpu_memory_bytes):
            return option
    return None
