"""What one rank of a training takes of its GPU, reckoned from the model's shape and the settings.

The states follow `engines/models/memory.py`, the pass `pass_memory.py`; here is what DeepSpeed and
CUDA take beside them, the sum, and how many tokens a pass may have. Plain arithmetic: nothing is
loaded. It was not tried on GPUs, and a job that runs out of memory all the same halves its passes.
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

#: CUDA's context with its kernels, the buffers of NCCL and the workspace of cuBLAS (assumed).
CONTEXT_BYTES = 2 * GB
#: Share of a GPU that is left free, as an allocator leaves gaps (assumed).
RESERVE = 0.1
#: Elements that ZeRO reduces or gathers at once: 200 MB in float32. Its own default takes 2 GB.
BUCKET_ELEMENTS = 50_000_000
#: Weights that ZeRO-3 has gathered at the same time at most (DeepSpeed 0.19.8,
#: `stage3_max_live_parameters`).
LIVE_WEIGHTS = 1_000_000_000
#: Tokens of a pass are a multiple of this, and no more than that: a larger one is no faster.
TOKEN_MULTIPLE, MAX_PASS_TOKENS = 1024, 65536
#: What is less would be told as 0.0 GB.
MIN_SHOWN_BYTES = GB / 20
#: Places of a row of which nobody knows how long it is: the recipe's longest (assumed).
ROW_TOKENS = 4096


class RankMemory(NamedTuple):
    """Bytes of a rank's GPU while it trains."""

    weights: float
    gradients: float
    optimizer: float
    """Its states, with the float32 copy of the weights."""
    activations: float
    head: float
    """Logits of a tile, and the gradients of the output head."""
    buckets: float
    """What is reduced or gathered at once."""
    step: float
    """What a step of the optimizer takes, when activations and head are gone."""
    context: float = CONTEXT_BYTES

    @property
    def total(self) -> float:
        """The most at any moment."""
        lasting = self.weights + self.gradients + self.optimizer + self.buckets + self.context
        return lasting + max(self.activations + self.head, self.step)

    def describe(self) -> str:
        """The parts and their sum, in GB of 2^30 bytes."""
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
    """How a training is made to fit."""

    zero_stage: int
    gradient_checkpointing: bool

    def describe(self) -> str:
        """The settings of it."""
        checkpointing = str(self.gradient_checkpointing).lower()
        return f"zero_stage={self.zero_stage} and gradient_checkpointing={checkpointing}"

    def is_faster_than(self, other: "MemoryOption") -> bool:
        """Whether it reckons or sends less; stages 1 and 2 are one where a step is one pass."""
        mine, others = (
            (option.zero_stage == ZERO_WEIGHTS, option.gradient_checkpointing)
            for option in (self, other)
        )
        return mine < others


#: The stage of ZeRO that cuts up the weights.
ZERO_WEIGHTS = 3
#: Ways from the fastest to the slowest: gradients that are cut up are reduced after every pass and
#: not once a step, activations computed twice cost a third of the arithmetic, and weights that are
#: cut up half as much traffic again, in every pass.
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
    """What a rank takes whose passes have so many tokens, with padding, in rows of `row_tokens`."""
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
        # SDPA knows no soft-capping.
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
    """What is sent at once: DeepSpeed's buckets; all gradients with plain torch on many ranks."""
    if sharding.zero_stage == 0:
        return 4.0 * shape.weights if sharding.ranks > 1 and not sharding.is_lora else 0.0
    buckets = 2.0 * BUCKET_ELEMENTS * work.item
    if sharding.zero_stage < 3:
        return buckets
    # The head needs its table whole, however large it is.
    return buckets + work.item * (min(LIVE_WEIGHTS, shape.weights) + shape.table)


def float32_gradients(shape: ModelShape, sharding: Sharding) -> float:
    """The float32 copy of a rank's gradients that DeepSpeed steps with; torch steps in place."""
    return 4.0 * shape.weights / sharding.ranks if sharding.zero_stage else 0.0


def trains_in_float32(settings: TrainingSettings, stored_in_float32: bool) -> bool:
    """Whether a training reckons in float32, as the settings say or the checkpoint is."""
    return settings.dtype == "float32" or (settings.dtype == "auto" and stored_in_float32)


def max_pass_tokens(
    shape: ModelShape,
    settings: TrainingSettings,
    ranks: int,
    gpu_memory_bytes: int,
    row_tokens: int = ROW_TOKENS,
) -> int:
    """The most tokens of a pass that fit a GPU with the reserve; 0 where not even a few do."""
    numbers = range(TOKEN_MULTIPLE, MAX_PASS_TOKENS + 1, TOKEN_MULTIPLE)

    def taken(tokens: int) -> float:
        return rank_memory(shape, settings, ranks, tokens, min(row_tokens, tokens)).total

    fitting = bisect_right(numbers, usable_bytes(gpu_memory_bytes), key=taken)
    return numbers[fitting - 1] if fitting else 0


def usable_bytes(gpu_memory_bytes: float) -> float:
    """Bytes of a GPU without the reserve."""
    return gpu_memory_bytes * (1 - RESERVE)


def fitting_micro_batch_tokens(
    model: Path,
    settings: TrainingSettings,
    ranks: int,
    gpu_memory_bytes: int,
    row_tokens: int = ROW_TOKENS,
) -> int:
    """Tokens of one forward pass of a rank, with padding: the most that fit, a multiple of 1024.

    `model` is a folder with a config.json, `gpu_memory_bytes` the whole memory of a rank's share of
    a GPU, `row_tokens` the longest row. A tenth of the memory stays free.

    Raises UserError (78) where config.json does not tell the shape, or not even one row fits.
    """
    shape = read_shape(read_object(model / "config.json"))
    if shape is None:
        raise UserError(
            f"micro_batch_tokens: {model}/config.json does not tell the shape of a dense model, so "
            "nobody knows how many tokens fit; set micro_batch_tokens",
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
    """What to set so that a row fits."""
    option = find_fastest_option(shape, settings, ranks, gpu_memory_bytes, row_tokens)
    if option is None:
        return "take more or larger GPUs, shorter rows (max_length of tokenize), or offload=all"
    return f"set {option.describe()}"


def find_fastest_option(
    shape: ModelShape,
    settings: TrainingSettings,
    ranks: int,
    gpu_memory_bytes: int,
    tokens: int,
) -> MemoryOption | None:
    """The fastest stage of ZeRO and checkpointing with which a row of so many tokens fits."""
    for option in MEMORY_OPTIONS:
        changed = settings.model_copy(update=option._asdict())
        taken = rank_memory(shape, changed, ranks, tokens, min(tokens, ROW_TOKENS))
        if taken.total <= usable_bytes(gpu_memory_bytes):
            return option
    return None
