"""Check that a model to be quantized or merged fits the host memory of a job."""

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
    """Return the minimum memory of quantize, and a fault if a job with this `room` is too small."""
    if checkpoint.is_pickled:
        size = checkpoint.weight_bytes
        text = f"the whole model of {format_gb(size)}: its weights are not safetensors"
        return host_fit(whole_compression_bytes(size), text, room)
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
    """Return a need of host memory, and a fault if a job gets less."""
    found = MemoryNeed(host_bytes=need, breakdown=text)
    if room.host_bytes is None or need <= room.host_bytes:
        return found, ()
    fault = (
        f"takes at least {format_gb(need)} of memory ({text}), and a job gets "
        f"{format_gb(room.host_bytes)}; set resources.mem_gb={suggest_mem_gb(need)}"
    )
    return found, (fault,)
