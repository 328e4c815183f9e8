"""Whether the states of a training fit GPUs and hosts, and how large passes do beside them."""

from math import ceil

from hala_hpc.core.estimate import Checkpoint, MemoryNeed, Room
from hala_hpc.core.resources import Resources
from hala_hpc.engines.models.gpus import least_memory_gb
from hala_hpc.engines.models.memory import (
    GB,
    Cut,
    TrainingBytes,
    gb,
    stored_item_bytes,
    training_bytes,
    weight_number,
    whole_gb,
)
from hala_hpc.engines.models.shape import ModelShape, read_shape
from hala_hpc.engines.training.pass_memory import FLOAT32
from hala_hpc.engines.training.rank_memory import (
    ROW_TOKENS,
    Way,
    cheapest_way,
    is_in_float32,
    most_tokens,
    rank_memory,
)
from hala_hpc.engines.training.settings import TrainingSettings

#: Most machines that a cure names.
MOST_NODES = 64


def training_fit(
    checkpoint: Checkpoint | None, settings: TrainingSettings, asked: Resources, room: Room
) -> tuple[MemoryNeed, tuple[str, ...]]:
    """What a training takes at least, and what keeps it from running in a job with this room.

    Without activations: how many tokens a pass has can be changed (`micro_batch_tokens`). What a
    pass takes is told.
    """
    weights = weight_number(checkpoint) if checkpoint else None
    if checkpoint is None or weights is None:
        return MemoryNeed(), ()
    is_float32 = is_in_float32(settings, stored_item_bytes(checkpoint) == FLOAT32)
    cut = Cut(
        settings.zero_stage,
        asked.world_size,
        settings.offload,
        is_float32,
        settings.lora_rank > 0,
    )
    each = training_bytes(weights, cut)
    told = reckoning(weights, cut)
    on_host = each.host * asked.ranks_per_node
    if room.gpus == 0:
        on_host += each.gpu * asked.ranks_per_node
    host = on_host or None
    faults = []
    if host and room.host_bytes is not None and host > room.host_bytes:
        faults.append(
            f"its states take at least {gb(host)} of memory on each machine ({told}), and a job "
            f"gets {gb(room.host_bytes)}; set resources.mem_gb={whole_gb(host)}"
        )
    if room.gpus == 0:
        return MemoryNeed(host_bytes=host, reckoning=told), tuple(faults)
    # Ranks that share a GPU share its memory.
    sharing = ceil(asked.ranks_per_node / room.gpus) if room.gpus else 1
    gpu = each.gpu * sharing
    if room.gpu_bytes is not None and gpu > room.gpu_bytes:
        faults.append(
            f"its states take at least {gb(gpu)} of each GPU ({told}), and the largest "
            f"{room.gpu_name} has {gb(room.gpu_bytes)}; "
            f"{cure(weights, cut, asked, room.gpu_bytes / sharing)}"
        )
    shape = read_shape(checkpoint.config)
    least = least_memory_gb(room.gpu_name)
    if shape and least and not faults:
        told = f"{told}; {pass_words(shape, settings, asked, least * GB // sharing)}"
    return MemoryNeed(host, gpu, told), tuple(faults)


def pass_words(
    shape: ModelShape, settings: TrainingSettings, asked: Resources, gpu_bytes: int
) -> str:
    """What a GPU holds while a row is learnt, how many tokens fit at most, and a faster way."""
    ranks = asked.world_size
    taken = rank_memory(shape, settings, ranks, ROW_TOKENS, ROW_TOKENS)
    most = most_tokens(shape, settings, ranks, gpu_bytes)
    told = f"with a row of {ROW_TOKENS} tokens {taken.words()}"
    told += (
        f", passes of up to {most} tokens fit {gb(gpu_bytes)}" if most else ", which is too much"
    )
    way = cheapest_way(shape, settings, ranks, gpu_bytes, ROW_TOKENS)
    own = Way(settings.zero_stage, settings.gradient_checkpointing)
    return f"{told}; {way.words()} would be faster" if way and way.is_faster_than(own) else told


def reckoning(weights: float, cut: Cut) -> str:
    """The sum behind a need, in words."""
    what = "weights alone (LoRA)" if cut.is_lora else "weights, gradients and AdamW"
    stage = f"ZeRO {cut.zero_stage}" if cut.zero_stage else "no ZeRO"
    told = f"{what} of {weights / 1e9:.2g}B, {stage} over {cut.ranks} ranks"
    return told if cut.offload == "none" else f"{told}, offload={cut.offload}"


def cure(weights: float, cut: Cut, asked: Resources, room_bytes: float) -> str:
    """What to set so that the states fit: the stage of ZeRO, then more machines, then the host."""

    def fits(other: Cut) -> bool:
        found: TrainingBytes = training_bytes(weights, other)
        return found.gpu <= room_bytes

    for stage in range(max(1, cut.zero_stage + 1), 4):
        if fits(cut._replace(zero_stage=stage)):
            return f"set zero_stage={stage}"
    nodes = asked.nodes
    while nodes < MOST_NODES:
        nodes *= 2
        if fits(cut._replace(zero_stage=3, ranks=nodes * asked.ranks_per_node)):
            also = "" if cut.zero_stage == 3 else "zero_stage=3 and "
            return f"set {also}resources.nodes={nodes}"
    if fits(cut._replace(zero_stage=3, offload="all")):
        return "set zero_stage=3 and offload=all"
    return "take larger GPUs, a smaller model, or lora_rank=16"
