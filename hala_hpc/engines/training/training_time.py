"""Estimate the GPU seconds of a training from model shape, rows and network traffic."""

from math import ceil
from typing import NamedTuple

from hala_hpc.core.estimate import BILLION, ModelSize, Throughput, format_amount, format_hours
from hala_hpc.core.resources import Resources
from hala_hpc.engines.models.gpus import min_memory_gb
from hala_hpc.engines.models.memory import GB
from hala_hpc.engines.models.shape import ModelShape
from hala_hpc.engines.training.rank_memory import max_pass_tokens
from hala_hpc.engines.training.settings import TrainingSettings

HOUR_S = 3600
#: Bytes for each weight that a GPU sends in bfloat16, in each pass and in addition in each step,
#: by the stage of ZeRO (Rajbhandari et al. 2020, section 7). Plain torch reduces float32 gradients.
SENT_BYTES = {0: (0.0, 8.0), 1: (0.0, 4.0), 2: (2.0, 2.0), 3: (6.0, 0.0)}
#: The same with LoRA: ZeRO-3 gathers the weights twice.
LORA_SENT_BYTES = {0: (0.0, 0.0), 1: (0.0, 0.0), 2: (0.0, 0.0), 3: (4.0, 0.0)}
#: Share of the matrix products that remains if no gradients of weights are computed.
LORA_PRODUCTS = 2 / 3


class TrainingAmount(NamedTuple):
    """Amount of data of a training, over all epochs."""

    tokens: float
    rows: float
    sequences: float
    """Units of the batch size: rows, or packed sequences."""


class TrainedModel(NamedTuple):
    """Size of the trained model, and its shape if known."""

    size: ModelSize
    shape: ModelShape | None

    @property
    def weights(self) -> float:
        """Number of weights."""
        return float(self.shape.weights) if self.shape else self.size.billions * BILLION

    @property
    def product_flops(self) -> float:
        """FLOPs of a token in matrix products, forward and backward."""
        return 6.0 * (self.shape.matrices if self.shape else self.weights)

    def attention_flops(self, row_tokens: float) -> float:
        """Return the FLOPs of a token in attention; 0 if the shape is unknown."""
        return self.shape.training_flops(row_tokens) - self.product_flops if self.shape else 0.0


class Cluster(NamedTuple):
    """Resources, GPU type and throughput figures of a training."""

    asked: Resources
    gpu_name: str
    table: Throughput


class Traffic(NamedTuple):
    """Network traffic between the ranks."""

    steps: float
    bytes_of_step: float
    """Sent by each GPU."""
    bytes_per_s: float

    @property
    def seconds(self) -> float:
        """Seconds of sending alone, without overlap."""
        return self.steps * self.bytes_of_step / self.bytes_per_s


class TrainingTime(NamedTuple):
    """GPU seconds of a training, over all its GPUs."""

    products: float
    attention: float
    network: float
    """Communication that does not overlap with computation."""

    @property
    def seconds(self) -> float:
        """Sum of all three."""
        return self.products + self.attention + self.network


def estimate_training_time(
    model: TrainedModel, amount: TrainingAmount, settings: TrainingSettings, cluster: Cluster
) -> tuple[TrainingTime, str]:
    """Return the GPU seconds of a training, and a description of the estimate."""
    table, speed = cluster.table, cluster.table.train
    recompute_factor = speed.checkpointing_cost if settings.gradient_checkpointing else 1.0
    share = speed.peak_share_of(model.weights / BILLION)
    flops = model.product_flops * (LORA_PRODUCTS if settings.lora_rank else 1.0)
    products = recompute_factor * amount.tokens * flops / (table.peak_flops * share)
    attended = model.attention_flops(amount.tokens / amount.rows)
    attention = (
        recompute_factor
        * amount.tokens
        * attended
        / (table.peak_flops * speed.attention_peak_share)
    )
    traffic = estimate_traffic(model, amount, settings, cluster)
    ranks = cluster.asked.world_size
    alone = traffic.seconds * ranks
    hidden = speed.overlapped if settings.zero_stage == 3 else 0.0
    network = alone - hidden * min(alone, products + attention)
    found = TrainingTime(products, attention, network)
    text = (
        f"{format_amount(amount.tokens)} training tokens; {format_seconds_as_hours(products)} h of "
        f"products, {recompute_factor * flops / BILLION:.3g} GFLOPs a token at {share:.0%} of the "
        f"peak; {format_seconds_as_hours(attention)} h of attention"
    )
    if not network:
        return found, text
    return found, (
        f"{text}; {format_seconds_as_hours(network)} h of network, "
        f"{traffic.bytes_of_step / BILLION:.3g} GB by each GPU in each of "
        f"{format_amount(traffic.steps)} steps at {traffic.bytes_per_s / BILLION:.0f} GB/s"
    )


def format_seconds_as_hours(seconds: float) -> str:
    """Return seconds as hours, in the format of estimates."""
    return format_hours(seconds / HOUR_S)


def estimate_traffic(
    model: TrainedModel, amount: TrainingAmount, settings: TrainingSettings, cluster: Cluster
) -> Traffic:
    """Estimate the network traffic of a training; none for a single rank."""
    asked, network = cluster.asked, cluster.table.network
    steps = amount.sequences / settings.global_batch_size
    table = LORA_SENT_BYTES if settings.lora_rank else SENT_BYTES
    of_pass, of_step = table[settings.zero_stage]
    each = of_pass * estimate_passes_per_step(model, amount, settings, cluster) + of_step
    sent = each * model.weights if asked.world_size > 1 else 0.0
    return Traffic(steps, sent, network.bytes_per_s(asked.nodes))


def estimate_passes_per_step(
    model: TrainedModel, amount: TrainingAmount, settings: TrainingSettings, cluster: Cluster
) -> int:
    """Estimate the passes of a rank in each step; 1 if the memory of the GPU is unknown."""
    ranks = cluster.asked.world_size
    memory_gb = min_memory_gb(cluster.gpu_name)
    if model.shape is None or memory_gb is None:
        return 1
    tokens = amount.tokens / amount.sequences * settings.global_batch_size / ranks
    fitting = max_pass_tokens(model.shape, settings, ranks, memory_gb * GB)
    return ceil(tokens / fitting) if fitting else 1
