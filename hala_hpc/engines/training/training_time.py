"""GPU seconds of a training, reckoned from the model's shape, its rows and what its ranks send."""

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
#: Bytes for each weight that a GPU sends in bfloat16, in a pass and in a step beside that, by the
#: stage of ZeRO (Rajbhandari et al. 2020, section 7). Plain torch reduces float32 gradients.
SENT_BYTES = {0: (0.0, 8.0), 1: (0.0, 4.0), 2: (2.0, 2.0), 3: (6.0, 0.0)}
#: The same where only LoRA's matrices are trained: ZeRO-3 gathers the weights twice.
LORA_SENT_BYTES = {0: (0.0, 0.0), 1: (0.0, 0.0), 2: (0.0, 0.0), 3: (4.0, 0.0)}
#: Share of the products that is left where no gradients of weights are reckoned.
LORA_PRODUCTS = 2 / 3


class TrainingAmount(NamedTuple):
    """What a training goes through, all epochs together."""

    tokens: float
    rows: float
    sequences: float
    """What a batch counts: rows, or what they are packed into."""


class TrainedModel(NamedTuple):
    """What is known of the model that is trained."""

    size: ModelSize
    shape: ModelShape | None

    @property
    def weights(self) -> float:
        """Their number."""
        return float(self.shape.weights) if self.shape else self.size.billions * BILLION

    @property
    def product_flops(self) -> float:
        """FLOPs of a token in products, forward and backward."""
        return 6.0 * (self.shape.matrices if self.shape else self.weights)

    def attention_flops(self, row_tokens: float) -> float:
        """FLOPs of a token in attention; 0 where the shape is not known."""
        return self.shape.training_flops(row_tokens) - self.product_flops if self.shape else 0.0


class Cluster(NamedTuple):
    """On what a training runs."""

    asked: Resources
    gpu_name: str
    table: Throughput


class Traffic(NamedTuple):
    """What the ranks send each other."""

    steps: float
    bytes_of_step: float
    """Of each GPU."""
    bytes_per_s: float

    @property
    def seconds(self) -> float:
        """In which nothing else would be done."""
        return self.steps * self.bytes_of_step / self.bytes_per_s


class TrainingTime(NamedTuple):
    """GPU seconds of a training, over all its GPUs."""

    products: float
    attention: float
    network: float
    """What is not hidden in the arithmetic."""

    @property
    def seconds(self) -> float:
        """All of them."""
        return self.products + self.attention + self.network


def estimate_training_time(
    model: TrainedModel, amount: TrainingAmount, settings: TrainingSettings, cluster: Cluster
) -> tuple[TrainingTime, str]:
    """GPU seconds of a training, and in words what they are reckoned from."""
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
        f"{format_amount(amount.tokens)} tokens learnt; {format_seconds_as_hours(products)} h of products, "
        f"{recompute_factor * flops / BILLION:.3g} GFLOPs a token at {share:.0%} of the peak; "
        f"{format_seconds_as_hours(attention)} h of attention"
    )
    if not network:
        return found, text
    return found, (
        f"{text}; {format_seconds_as_hours(network)} h of network, {traffic.bytes_of_step / BILLION:.3g} GB by each "
        f"GPU in each of {format_amount(traffic.steps)} steps at "
        f"{traffic.bytes_per_s / BILLION:.0f} GB/s"
    )


def format_seconds_as_hours(seconds: float) -> str:
    """Hours of so many seconds, as estimates are shown."""
    return format_hours(seconds / HOUR_S)


def estimate_traffic(
    model: TrainedModel, amount: TrainingAmount, settings: TrainingSettings, cluster: Cluster
) -> Traffic:
    """What a training sends; nothing on a lone rank."""
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
    """Passes of a rank in each step; one where nobody knows how much a GPU holds."""
    ranks = cluster.asked.world_size
    memory_gb = min_memory_gb(cluster.gpu_name)
    if model.shape is None or memory_gb is None:
        return 1
    tokens = amount.tokens / amount.sequences * settings.global_batch_size / ranks
    fitting = max_pass_tokens(model.shape, settings, ranks, memory_gb * GB)
    return ceil(tokens / fitting) if fitting else 1
