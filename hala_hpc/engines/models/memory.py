"""Minimum memory of models on hosts and GPUs, from their files or their known size.

Each figure is a lower bound: activations, buffers of libraries and fragmentation of the allocator
come on top. A figure above the memory of a machine cannot run there; one below it may still be too
large. Unknown figures are None and refuse nothing. Memory is counted in the GB of
`resources.mem_gb`, 2^30 bytes.
"""

from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

from hala_hpc.core.estimate import Checkpoint
from hala_hpc.engines.models.files import WEIGHT_PATTERNS, read_object
from hala_hpc.engines.models.tensors import weight_bytes

GB = 2**30
#: Bytes of one number, by the type names of config.json.
ITEM_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
#: Bytes of weights that quantize reads before it writes their result.
PART_BYTES = 4 * GB
#: Host memory of Python and its libraries before any weight is loaded: LLM Compressor with torch
#: for CPUs took 0.46 GB (VmHWM); on a GPU it is more.
RUNTIME_BYTES = GB // 2
#: Factor of suggested memory above the minimum: no job runs with the minimum alone (assumed).
MARGIN = 1.1
#: Bytes for each weight in training with AdamW in mixed precision: the weights and their gradients
#: in bfloat16; a float32 copy and two moments. Rajbhandari et al. 2020 (ZeRO, arXiv 1910.02054),
#: section 3.1.
WEIGHTS, GRADIENTS, STATES = 2, 2, 12
#: The same in float32: the states are the two moments only; stages 1 and 2 of DeepSpeed still copy
#: the weights (0.19.8, `stage_1_and_2.py`: a clone of the rank's partition).
FLOAT32_WEIGHTS, FLOAT32_GRADIENTS, FLOAT32_STATES, FLOAT32_COPIED_STATES = 4, 4, 8, 12


def read_checkpoint(folder: Path) -> Checkpoint | None:
    """Read sizes and config.json of a model folder; None if it has no weights."""
    size = known_weight_bytes(folder)
    if not size:
        return None
    config = read_object(folder / "config.json") or {}
    quantization = config.get("quantization_config") or {}
    return Checkpoint(
        size,
        config,
        is_compressed=bool(quantization),
        is_fp8=has_fp8_weights(quantization),
        is_pickled=not any(folder.glob("*.safetensors")),
    )


def known_weight_bytes(folder: Path) -> float | None:
    """Return the bytes of all weights, from the files or, if some are missing, from the index."""
    try:
        return float(weight_bytes(folder))
    except FileNotFoundError:
        for name, _ in WEIGHT_PATTERNS:
            metadata = (read_object(folder / name) or {}).get("metadata") if name else None
            if isinstance(metadata, dict) and isinstance(metadata.get("total_size"), int | float):
                return float(metadata["total_size"])
        return None


def has_fp8_weights(quantization: dict[str, Any]) -> bool:
    """Whether a `quantization_config` means FP8: as `fp8`, or as 8-bit floats of a group."""
    groups = (quantization.get("config_groups") or {}).values()
    weights = [group.get("weights") or {} for group in groups]
    return "fp8" in str(quantization.get("quant_method")) or any(
        group.get("type") == "float" and group.get("num_bits") == 8 for group in weights
    )


def stored_item_bytes(checkpoint: Checkpoint) -> int:
    """Return the bytes of each weight by the type in config.json; those of bfloat16 without one."""
    if checkpoint.is_fp8:
        return 1
    config = checkpoint.config or {}
    text = {**config, **(config.get("text_config") or {})}
    return ITEM_BYTES.get(str(text.get("dtype") or text.get("torch_dtype")), 2)


def count_weights(checkpoint: Checkpoint) -> float | None:
    """Return the number of weights of a checkpoint; None if their numbers of bits differ."""
    if checkpoint.is_compressed and not checkpoint.is_fp8:
        return None
    return checkpoint.weight_bytes / stored_item_bytes(checkpoint)


def embedding_bytes(checkpoint: Checkpoint) -> float:
    """Return the bytes of the embedding, usually the largest tensor; 0 if config.json lacks it."""
    config = checkpoint.config or {}
    text = {**config, **(config.get("text_config") or {})}
    vocab, width = text.get("vocab_size") or 0, text.get("hidden_size") or 0
    # FP8 checkpoints store it in 16 bits.
    return float(vocab * width * max(2, stored_item_bytes(checkpoint)))


def compression_bytes(checkpoint: Checkpoint) -> float:
    """Return the host memory of a compression part by part, for a model of any size.

    It is a part and its result; a part is at most PART_BYTES unless one tensor is larger.
    """
    part = min(checkpoint.weight_bytes, max(PART_BYTES, embedding_bytes(checkpoint)))
    return RUNTIME_BYTES + 2 * part


def whole_compression_bytes(size_bytes: float) -> float:
    """Return the host memory with the whole model loaded: its weights are compressed in place."""
    return RUNTIME_BYTES + size_bytes


def merge_bytes(checkpoint: Checkpoint, models: int, is_own: bool) -> float:
    """Host memory of a merge of so many models, tensor by tensor: the largest of each as stored.

    Methods of mergekit take each in float32 as well, and as much for changes, masks and the sum.
    """
    largest = embedding_bytes(checkpoint)
    in_float32 = 4 * largest / max(2, stored_item_bytes(checkpoint))
    return RUNTIME_BYTES + models * largest + (0 if is_own else (3 * models + 1) * in_float32)


class TrainingBytes(NamedTuple):
    """Memory of one rank of a training, without activations."""

    weights: float
    gradients: float
    states: float
    """States of the optimizer, with the float32 copy of the weights; all three are on the GPU."""
    host: float
    """Offloaded to the host."""

    @property
    def gpu(self) -> float:
        """Sum of what is on the GPU."""
        return self.weights + self.gradients + self.states


class Sharding(NamedTuple):
    """How the states of a training are sharded, in terms of the settings of `sft`."""

    zero_stage: int
    ranks: int
    offload: str = "none"
    is_float32: bool = False
    is_lora: bool = False


def training_bytes(weights: float, sharding: Sharding) -> TrainingBytes:
    """Return weights, gradients and the optimizer's states of a rank, by the stage of ZeRO.

    Stage 1 shards the states, 2 also the gradients, 3 also the weights (arXiv 1910.02054,
    figure 1). Without DeepSpeed (0) all is in float32. LoRA's matrices are too small to count.
    So are gradients with an offloaded optimizer: they leave the GPU as soon as they are computed.
    """
    each = (WEIGHTS, GRADIENTS, STATES)
    if sharding.zero_stage == 0 or sharding.is_float32:
        is_copied = sharding.zero_stage in (1, 2)
        states_each = FLOAT32_COPIED_STATES if is_copied else FLOAT32_STATES
        each = (FLOAT32_WEIGHTS, FLOAT32_GRADIENTS, states_each)
    own, gradients, states = (weights * one for one in each)
    if sharding.is_lora:
        gradients = states = 0.0
    own /= sharding.ranks if sharding.zero_stage >= 3 else 1
    gradients /= sharding.ranks if sharding.zero_stage >= 2 else 1
    states /= sharding.ranks if sharding.zero_stage >= 1 else 1
    if sharding.offload == "none":
        return TrainingBytes(own, gradients, states, 0.0)
    if sharding.offload == "optimizer":
        return TrainingBytes(own, 0.0, 0.0, states)
    return TrainingBytes(0.0, 0.0, 0.0, states + own)


def format_gb(size_bytes: float) -> str:
    """Format a size in GB of 2^30 bytes, the unit of the settings."""
    return f"{size_bytes / GB:.1f} GB"


def suggest_mem_gb(size_bytes: float) -> int:
    """Return the value of `mem_gb` to suggest for a minimum in bytes."""
    return ceil(MARGIN * size_bytes / GB)
