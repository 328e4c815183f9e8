"""Whether a model that passes through the memory of a host, to be compressed or merged, fits it."""

from hala_hpc.core.estimate import Checkpoint, MachineCapacity, MemoryNeed
from hala_hpc.engines.models.memory import (
    compression_bytes,
    embedding_bytes,
    format_gb,
    merge_bytes,
    suggest_mem_gb,
    whole_compression_bytes,
)


def compression_fit(
    checkpoint: Checkpoint, room: MachineCapacity
) -> tuple[MemoryNeed, tuple[str, ...]]:
    """What quantize takes at least, and what keeps it from running in a job with this room."""
    if checkpoint.is_pickled:
        text = f"the whole model of {format_gb(checkpoint.weight_bytes)}: its weights are no safetensors"
        return host_fit(whole_compression_bytes(checkpoint.weight_bytes), text, room)
    return host_fit(compression_bytes(checkpoint), "a part of the weights and its result", room)


def merging_fit(
    checkpoint: Checkpoint | None,
    models: int,
    is_own: bool,
    loads: bool,
    room: MachineCapacity,
) -> tuple[MemoryNeed, tuple[str, ...]]:
    """The same for a merge of so many models; no number where the shapes of a model are not known.

    `is_own`: our own arithmetic makes it, not mergekit. `loads`: the result is loaded and asked.
    """
    if checkpoint is None:
        return MemoryNeed(), ()
    if not embedding_bytes(checkpoint):
        text = f"{models} models of {format_gb(checkpoint.weight_bytes)}, tensor by tensor"
        return MemoryNeed(breakdown=text), ()
    need = merge_bytes(checkpoint, models, is_own)
    text = f"the largest tensor of {models} models" + ("" if is_own else ", and float32 copies")
    whole = whole_compression_bytes(checkpoint.weight_bytes)
    if loads and whole > need:
        need, text = whole, "the merged model, loaded to be asked"
    return host_fit(need, text, room)


def host_fit(need: float, text: str, room: MachineCapacity) -> tuple[MemoryNeed, tuple[str, ...]]:
    """A need of the host's memory, and a line where a job gets less."""
    found = MemoryNeed(host_bytes=need, breakdown=text)
    if room.host_bytes is None or need <= room.host_bytes:
        return found, ()
    fault = (
        f"takes at least {format_gb(need)} of memory ({text}), and a job gets {format_gb(room.host_bytes)}; "
        f"set resources.mem_gb={suggest_mem_gb(need)}"
    )
    return found, (fault,)
