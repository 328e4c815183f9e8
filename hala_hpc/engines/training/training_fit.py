"""Check that the states of a training fit GPUs and hosts, and how large passes may be."""

from math import ceil

from hala_hpc.core.estimate import Checkpoint, MachineCapacity, MemoryNeed
from hala_hpc.core.resources import Resources
from hala_hpc.engines.models.gpus import min_memory_gb
from hala_hpc.engines.models.memory import (
    GB,
    Sharding,
    TrainingBytes,
    count_weights,
    format_gb,
    stored_item_bytes,
    suggest_mem_gb,
    training_bytes,
)
from hala_hpc.engines.models.shape import ModelShape, read_shape
from hala_hpc.engines.training.pass_memory import FLOAT32
from hala_hpc.engines.training.rank_memory import (
    ROW_TOKENS,
    MemoryOption,
    find_fastest_option,
    max_pass_tokens,
    rank_memory,
    trains_in_float32,
)
from hala_hpc.engines.training.settings import TrainingSettings

#: Maximum number of machines that a fix suggests.
MAX_SUGGESTED_NODES = 64


def training_fit(
    checkpoint: Checkpoint | None,
    settings: TrainingSettings,
    asked: Resources,
    room: MachineCapacity,
) -> tuple[MemoryNeed, tuple[str, ...]]:
    """Return the minimum memory of a training, and faults if a job with this `room` is too small.

    The minimum has no activations, as the tokens of a pass can be changed (`micro_batch_tokens`).
    The memory of a pass is part of the description.
    """
    weights = count_weights(checkpoint) if checkpoint else None
    if checkpoint is None or weights is None:
        return MemoryNeed(), ()
    is_float32 = trains_in_float32(settings, stored_item_bytes(checkpoint) == FLOAT32)
    sharding = Sharding(
        settings.zero_stage,
        asked.world_size,
        settings.offload,
        is_float32,
        settings.lora_rank > 0,
    )
    each = training_bytes(weights, sharding)
    description = describe_states(weights, sharding)
    on_host = each.host * asked.ranks_per_node
    if room.gpus == 0:
        on_host += each.gpu * asked.ranks_per_node
    host = on_host or None
    faults = []
    if host and room.host_bytes is not None and host > room.host_bytes:
        faults.append(
            f"its states take at least {format_gb(host)} of memory on each machine "
            f"({description}), and a job gets {format_gb(room.host_bytes)}; "
            f"set resources.mem_gb={suggest_mem_gb(host)}"
        )
    if room.gpus == 0:
        return MemoryNeed(host_bytes=host, breakdown=description), tuple(faults)
    # Ranks on the same GPU share its memory.
    sharing = ceil(asked.ranks_per_node / room.gpus) if room.gpus else 1
    gpu = each.gpu * sharing
    if room.gpu_bytes is not None and gpu > room.gpu_bytes:
        faults.append(
            f"its states take at least {format_gb(gpu)} of each GPU ({description}), and the "
            f"largest {room.gpu_name} has {format_gb(room.gpu_bytes)}; "
            f"{suggest_states_fix(weights, sharding, asked, room.gpu_bytes / sharing)}"
        )
    shape = read_shape(checkpoint.config)
    min_gb = min_memory_gb(room.gpu_name)
    if shape and min_gb and not faults:
        description = (
            f"{description}; {describe_pass(shape, settings, asked, min_gb * GB // sharing)}"
        )
    return MemoryNeed(host, gpu, description), tuple(faults)


def describe_pass(
    shape: ModelShape, settings: TrainingSettings, asked: Resources, gpu_bytes: int
) -> str:
    """Describe the GPU memory with one row, the maximum tokens that fit, and faster settings."""
    ranks = asked.world_size
    taken = rank_memory(shape, settings, ranks, ROW_TOKENS, ROW_TOKENS)
    max_tokens = max_pass_tokens(shape, settings, ranks, gpu_bytes)
    text = f"with a row of {ROW_TOKENS} tokens {taken.describe()}"
    text += (
        f", passes of up to {max_tokens} tokens fit {format_gb(gpu_bytes)}"
        if max_tokens
        else ", which does not fit"
    )
    option = find_fastest_option(shape, settings, ranks, gpu_bytes, ROW_TOKENS)
    own = MemoryOption(settings.zero_stage, settings.gradient_checkpointing)
    return (
        f"{text}; {option.describe()} would be faster"
        if option and option.is_faster_than(own)
        else text
    )


def describe_states(weights: float, sharding: Sharding) -> str:
    """Describe the states and how they are sharded."""
    what = "weights alone (LoRA)" if sharding.is_lora else "weights, gradients and AdamW"
    stage = f"ZeRO {sharding.zero_stage}" if sharding.zero_stage else "no ZeRO"
    text = f"{what} of {weights / 1e9:.2g}B, {stage} over {sharding.ranks} ranks"
    return text if sharding.offload == "none" else f"{text}, offload={sharding.offload}"


def suggest_states_fix(
    weights: float, sharding: Sharding, asked: Resources, room_bytes: float
) -> str:
    """Suggest settings with which the states fit: stage of ZeRO, more machines, then offload."""

    def fits(other: Sharding) -> bool:
        found: TrainingBytes = training_bytes(weights, other)
        return found.gpu <= room_bytes

    for stage in range(max(1, sharding.zero_stage + 1), 4):
        if fits(sharding._replace(zero_stage=stage)):
            return f"set zero_stage={stage}"
    nodes = asked.nodes
    while nodes < MAX_SUGGESTED_NODES:
        nodes *= 2
        if fits(sharding._replace(zero_stage=3, ranks=nodes * asked.ranks_per_node)):
            also = "" if sharding.zero_stage == 3 else "zero_stage=3 and "
            return f"set {also}resources.nodes={nodes}"
    if fits(sharding._replace(zero_stage=3, offload="all")):
        return "set zero_stage=3 and offload=all"
    return "use larger GPUs, a smaller model, or lora_rank=16"
