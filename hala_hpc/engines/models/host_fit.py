"""Whether a model that passes through the memory of a host, to be compressed or merged, fits it."""

from hala_hpc.core.estimate import Checkpoint, MemoryNeed, Room
from hala_hpc.engines.models.memory import (
    compression_bytes,
    embedding_bytes,
    gb,
    merge_bytes,
    whole_compression_bytes,
    whole_gb,
)


def compression_fit(checkpoint: Checkpoint, room: Room) -> tuple[MemoryNeed, tuple[str, ...]]:
    """What quantize takes at least, and what keeps it from running in a job with this room."""
    if checkpoint.is_pickled:
        told = f"the whole model of {gb(checkpoint.weight_bytes)}: its weights are no safetensors"
        return host_fit(whole_compression_bytes(checkpoint.weight_bytes), told, room)
    return host_fit(compression_bytes(checkpoint), "a part of the weights and its result", room)


def merging_fit(checkpoint: Checkpoint | None, room: Room) -> tuple[MemoryNeed, tuple[str, ...]]:
    """The same for merge; no number where the shapes of a model are not known."""
    if checkpoint is None:
        return MemoryNeed(), ()
    if not embedding_bytes(checkpoint):
        told = f"two models of {gb(checkpoint.weight_bytes)}, tensor by tensor"
        return MemoryNeed(reckoning=told), ()
    told = "the largest tensor of both models and of the merged one, in float32"
    return host_fit(merge_bytes(checkpoint), told, room)


def host_fit(need: float, told: str, room: Room) -> tuple[MemoryNeed, tuple[str, ...]]:
    """A need of the host's memory, and a line where a job gets less."""
    found = MemoryNeed(host_bytes=need, reckoning=told)
    if room.host_bytes is None or need <= room.host_bytes:
        return found, ()
    fault = (
        f"takes at least {gb(need)} of memory ({told}), and a job gets {gb(room.host_bytes)}; "
        f"set resources.mem_gb={whole_gb(need)}"
    )
    return found, (fault,)
