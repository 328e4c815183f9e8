"""Whether a model that generates text fits into GPUs or a host, from its files or its known size.

Checked twice: by the plan for the GPUs that a job will request, and by the job for those it sees.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hala_hpc.core.estimate import Checkpoint, MachineCapacity, MemoryNeed
from hala_hpc.engines.generation.settings import DEFAULT_ENGINE, EngineSettings
from hala_hpc.engines.models.gpus import FP8_CAPABILITY, capability_of
from hala_hpc.engines.models.memory import (
    GB,
    ITEM_BYTES,
    format_gb,
    read_checkpoint,
    stored_item_bytes,
)

#: Maximum number of GPUs that a fix proposes: those of one large machine.
MAX_GPUS = 16
#: Smaller sizes would be printed as 0.0 GB.
MIN_REPORTED_BYTES = GB // 20


@dataclass(frozen=True)
class Gpu:
    """A GPU as the engine sees it."""

    name: str
    capability: tuple[int, int]
    memory_bytes: int


@dataclass(frozen=True)
class MemoryRequirement:
    """Memory that a model takes, over all GPUs that share it."""

    weight_bytes: int
    row_bytes: int
    """Key-value cache of one row of `max_model_len` tokens."""
    is_fp8: bool
    """Whether its weights are FP8 numbers."""
    heads: int
    cache_heads: int

    def bytes_per_gpu(self, gpus: int) -> int:
        """Memory on each of `gpus` GPUs; heads of the cache are never split."""
        shared = max(1, min(gpus, self.cache_heads))
        return self.weight_bytes // gpus + self.row_bytes // shared

    def can_split(self, gpus: int) -> bool:
        """Whether vLLM can split the heads among `gpus` GPUs."""
        even = self.cache_heads % gpus == 0 or gpus % self.cache_heads == 0
        return self.heads % gpus == 0 and even


def find_engine_misfits(
    need: MemoryRequirement, settings: EngineSettings, gpus: list[Gpu] | None, host_bytes: int
) -> list[str]:
    """List what keeps a model from running on these GPUs, or without any (None).

    Memory of the computation itself is not counted: vLLM measures it once the weights are loaded.
    """
    size = settings.tensor_parallel_size
    faults = [] if gpus is None else [count_fault(size, len(gpus))]
    faults.append(split_fault(need, size))
    if gpus is None:
        faults += [host_fault(need, settings, host_bytes), row_fault(need, settings)]
    elif gpus:
        faults += [fp8_fault(need, settings, gpus[0]), memory_fault(need, settings, gpus)]
    return [fault for fault in faults if fault]


def memory_fault(need: MemoryRequirement, settings: EngineSettings, gpus: list[Gpu]) -> str:
    """Message if a model is too large for the GPUs that share it; "" if it fits."""
    size = settings.tensor_parallel_size
    smallest = min(gpus, key=lambda gpu: gpu.memory_bytes)
    room = int(smallest.memory_bytes * settings.gpu_memory_utilization)
    if need.bytes_per_gpu(size) <= room:
        return ""
    sizes = [n for n in range(size + 1, MAX_GPUS + 1) if need.can_split(n)]
    fitting = [n for n in sizes if need.bytes_per_gpu(n) <= room]
    fix = (
        f"set engine.tensor_parallel_size={fitting[0]} and resources.gpus_per_node={fitting[0]}"
        if fitting
        else f"no engine.tensor_parallel_size up to {MAX_GPUS} is enough: use larger GPUs, a "
        "quantized model or a smaller engine.max_model_len"
    )
    weights = need.weight_bytes // size
    return (
        f"does not fit: {format_gb(weights)} of weights and "
        f"{format_gb(need.bytes_per_gpu(size) - weights)} of cache for one row of "
        f"engine.max_model_len={settings.max_model_len} on each of {size} GPUs, but "
        f"{smallest.name} has {format_gb(smallest.memory_bytes)} and "
        f"engine.gpu_memory_utilization={settings.gpu_memory_utilization:g}; {fix}"
    )


def fp8_fault(need: MemoryRequirement, settings: EngineSettings, gpu: Gpu) -> str:
    """Message if a GPU does not support the FP8 that is requested; "" if it does."""
    wanted = "its weights are FP8" if need.is_fp8 else ""
    fix = "use the model that was not quantized"
    if settings.kv_cache_dtype.startswith("fp8"):
        wanted = wanted or f"engine.kv_cache_dtype={settings.kv_cache_dtype}"
        fix = f"{fix} and kv_cache_dtype=auto" if need.is_fp8 else "set engine.kv_cache_dtype=auto"
    if not wanted or gpu.capability >= FP8_CAPABILITY:
        return ""
    has, minimum = ".".join(map(str, gpu.capability)), ".".join(map(str, FP8_CAPABILITY))
    return (
        f"{wanted}, but {gpu.name} has compute capability {has} and FP8 needs {minimum} "
        f"(L4, L40S, H100 or newer); {fix}, or request such GPUs"
    )


def count_fault(size: int, visible: int) -> str:
    """Message if a job sees fewer GPUs than are to share the model; "" if it sees enough."""
    if size <= visible:
        return ""
    return (
        f"engine.tensor_parallel_size={size}, but this job sees {visible} GPUs; "
        f"set resources.gpus_per_node={size}"
    )


def split_fault(need: MemoryRequirement, size: int) -> str:
    """Message if a model cannot be split among `size` GPUs; "" if it can."""
    if need.can_split(size):
        return ""
    sizes = ", ".join(str(n) for n in range(1, MAX_GPUS + 1) if need.can_split(n))
    return (
        f"engine.tensor_parallel_size={size} does not divide its {need.heads} attention heads "
        f"({need.cache_heads} of the cache); use one of {sizes}"
    )


def host_fault(need: MemoryRequirement, settings: EngineSettings, host_bytes: float) -> str:
    """Message if a model is too large for the host's memory; "" if it fits."""
    if need.weight_bytes + settings.cpu_cache_gb * 2**30 <= host_bytes:
        return ""
    return (
        f"does not fit: {format_gb(need.weight_bytes)} of weights and "
        f"engine.cpu_cache_gb={settings.cpu_cache_gb:g}, but this job has "
        f"{format_gb(host_bytes)} of memory and no GPU; raise resources.mem_gb or "
        "resources.gpus_per_node, or use a smaller model"
    )


def row_fault(need: MemoryRequirement, settings: EngineSettings) -> str:
    """Message if the host's cache is too small for a single row; "" if it is not."""
    if need.row_bytes <= settings.cpu_cache_gb * 2**30:
        return ""
    return (
        f"one row of engine.max_model_len={settings.max_model_len} takes "
        f"{format_gb(need.row_bytes)} of cache, but "
        f"engine.cpu_cache_gb={settings.cpu_cache_gb:g}; "
        f"set engine.cpu_cache_gb={need.row_bytes / 2**30 + 0.05:.1f}"
    )


def read_memory_requirement(folder: Path, settings: EngineSettings) -> MemoryRequirement | None:
    """Read what memory the model in a folder takes; None if its config.json does not say."""
    found = read_checkpoint(folder)
    need = estimate_memory_requirement(found, settings) if found else None
    return need if need and need.heads else None


def estimate_memory_requirement(
    checkpoint: Checkpoint, settings: EngineSettings
) -> MemoryRequirement:
    """Estimate the memory of a model; heads and cache are 0 if no config.json has them."""
    weights = checkpoint.weight_bytes
    # With auto, vLLM runs float32 checkpoints in 16 bits.
    runs_in = "bfloat16" if settings.dtype == "auto" else settings.dtype
    if not checkpoint.is_compressed:
        weights *= ITEM_BYTES.get(runs_in, 2) / stored_item_bytes(checkpoint)
    config = checkpoint.config or {}
    text = {**config, **(config.get("text_config") or {})}
    heads = text.get("num_attention_heads")
    if not heads or not text.get("hidden_size") or not text.get("num_hidden_layers"):
        return MemoryRequirement(int(weights), 0, checkpoint.is_fp8, 0, 0)
    cache_heads, numbers = count_cached_numbers(text)
    in_fp8 = settings.kv_cache_dtype.startswith("fp8")
    item_bytes = 1 if in_fp8 else ITEM_BYTES.get(runs_in, 2)
    tokens = count_cached_tokens(text, settings.max_model_len)
    return MemoryRequirement(
        int(weights), tokens * numbers * item_bytes, checkpoint.is_fp8, heads, cache_heads
    )


def estimate_fit(
    checkpoint: Checkpoint | None, settings: EngineSettings, room: MachineCapacity
) -> tuple[MemoryNeed, tuple[str, ...]]:
    """Estimate what memory an engine takes at least, and list why it cannot run in such a job.

    Both are empty for an engine that is not built in, and for a model of unknown size.
    """
    if checkpoint is None or settings.name != DEFAULT_ENGINE:
        return MemoryNeed(), ()
    need, size = estimate_memory_requirement(checkpoint, settings), settings.tensor_parallel_size
    is_reported = need.row_bytes >= MIN_REPORTED_BYTES
    cache = f" + {format_gb(need.row_bytes)} of cache for a row" if is_reported else ""
    shared = f", over {size} GPUs" if size > 1 else ""
    description = f"{format_gb(need.weight_bytes)} of weights{cache}{shared}"
    if room.gpus == 0:
        host = need.weight_bytes + settings.cpu_cache_gb * 2**30
        fault = host_fault(need, settings, room.host_bytes) if room.host_bytes else ""
        return MemoryNeed(host_bytes=host, breakdown=description), tuple(filter(None, [fault]))
    faults = [split_fault(need, size)]
    if room.gpus is not None:
        faults.append(count_fault(size, room.gpus))
    capability = capability_of(room.gpu_name)
    if capability:
        faults.append(fp8_fault(need, settings, Gpu(room.gpu_name, capability, 0)))
    if room.gpu_bytes:
        gpu = Gpu(f"the largest {room.gpu_name}", capability or (0, 0), int(room.gpu_bytes))
        faults.append(memory_fault(need, settings, [gpu]))
    found = MemoryNeed(gpu_bytes=need.bytes_per_gpu(size), breakdown=description)
    return found, tuple(filter(None, faults))


def count_cached_numbers(text: dict[str, Any]) -> tuple[int, int]:
    """Count heads among which the cache can be split, and numbers cached per token and layer."""
    if rank := text.get("kv_lora_rank"):  # one latent vector for all heads (DeepSeek's MLA)
        return 1, rank + (text.get("qk_rope_head_dim") or 0)
    heads = text["num_attention_heads"]
    cache_heads = text.get("num_key_value_heads") or heads
    return cache_heads, 2 * cache_heads * (text.get("head_dim") or text["hidden_size"] // heads)


def count_cached_tokens(text: dict[str, Any], max_model_len: int) -> int:
    """Count the cached tokens of one row, summed over the layers.

    A sliding-window layer caches its window, a convolution next to nothing.
    """
    length = min(max_model_len, text.get("max_position_embeddings") or max_model_len)
    window = min(length, text.get("sliding_window") or length)
    attention = text.get("full_attn_idxs") or range(text["num_hidden_layers"])
    kinds = text.get("layer_types") or ["full_attention"] * len(attention)
    tokens_by_kind = {"full_attention": length, "attention": length, "sliding_attention": window}
    return sum(tokens_by_kind.get(kind, 0) for kind in kinds)
