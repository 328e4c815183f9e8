"""What models take of the memory of hosts and GPUs, told from their files or their known size.

Each figure is the least that the work can do with: activations, buffers of libraries and what an
allocator wastes come on top. So what is above the memory of a machine cannot run there, and what is
below it may still be too much. What neither files nor tables tell is None, and nothing follows
from it. Memory is counted in the GB of `resources.mem_gb`, 2^30 bytes.
"""

from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

from hala_hpc.core.estimate import Checkpoint
from hala_hpc.engines.models.files import WEIGHT_PATTERNS as WEIGHT_NAMES
from hala_hpc.engines.models.files import read_object
from hala_hpc.engines.models.tensors import weight_bytes

GB = 2**30
#: Bytes of one number, by the words of a config.json.
ITEM_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
#: Weights that quantize reads before it writes their result.
PART_BYTES = 4 * GB
#: What Python and its libraries take of the host before any weight is there: LLM Compressor with
#: torch for CPUs took 0.46 GB (VmHWM); on a GPU it is more.
RUNTIME_BYTES = GB // 2
#: How much more than the least a cure names: nothing runs with the least alone (assumed).
MARGIN = 1.1
#: Bytes for each weight in training with AdamW in mixed precision: the weights and their gradients
#: in bfloat16; a float32 copy and two moments. Rajbhandari et al. 2020 (ZeRO, arXiv 1910.02054),
#: section 3.1.
WEIGHTS, GRADIENTS, STATES = 2, 2, 12
#: The same in float32: the two moments alone; stages 1 and 2 of DeepSpeed copy the weights all the
#: same (0.19.8, `stage_1_and_2.py`: a clone of the rank's part).
FLOAT32_WEIGHTS, FLOAT32_GRADIENTS, FLOAT32_STATES, FLOAT32_COPIED_STATES = 4, 4, 8, 12


def read_checkpoint(folder: Path) -> Checkpoint | None:
    """What the files of a model folder tell: sizes, config.json; None where it has no weights."""
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
    """Bytes of all weights, as the files have or, where some are missing, as the index says."""
    try:
        return float(weight_bytes(folder))
    except FileNotFoundError:
        for name, _ in WEIGHT_NAMES:
            metadata = (read_object(folder / name) or {}).get("metadata") if name else None
            if isinstance(metadata, dict) and isinstance(metadata.get("total_size"), int | float):
                return float(metadata["total_size"])
        return None


def has_fp8_weights(quantization: dict[str, Any]) -> bool:
    """Whether a `quantization_config` speaks of FP8: as `fp8`, or as 8-bit floats of a group."""
    groups = (quantization.get("config_groups") or {}).values()
    weights = [group.get("weights") or {} for group in groups]
    return "fp8" in str(quantization.get("quant_method")) or any(
        group.get("type") == "float" and group.get("num_bits") == 8 for group in weights
    )


def stored_item_bytes(checkpoint: Checkpoint) -> int:
    """Bytes of each weight as config.json names their type; those of bfloat16 where it does not."""
    if checkpoint.is_fp8:
        return 1
    config = checkpoint.config or {}
    text = {**config, **(config.get("text_config") or {})}
    return ITEM_BYTES.get(str(text.get("dtype") or text.get("torch_dtype")), 2)


def count_weights(checkpoint: Checkpoint) -> float | None:
    """How many weights a checkpoint has; None where each has another number of bits."""
    if checkpoint.is_compressed and not checkpoint.is_fp8:
        return None
    return checkpoint.weight_bytes / stored_item_bytes(checkpoint)


def embedding_bytes(checkpoint: Checkpoint) -> float:
    """The table of the tokens, mostly the largest tensor; 0 where config.json does not tell it."""
    config = checkpoint.config or {}
    text = {**config, **(config.get("text_config") or {})}
    vocab, width = text.get("vocab_size") or 0, text.get("hidden_size") or 0
    # FP8 leaves it in 16 bits.
    return float(vocab * width * max(2, stored_item_bytes(checkpoint)))


def compression_bytes(checkpoint: Checkpoint) -> float:
    """Host memory of a compression part by part, however large the model is.

    A part and what its tensors become, none larger than PART_BYTES unless one tensor is.
    """
    part = min(checkpoint.weight_bytes, max(PART_BYTES, embedding_bytes(checkpoint)))
    return RUNTIME_BYTES + 2 * part


def whole_compression_bytes(size_bytes: float) -> float:
    """Host memory where the whole model is loaded: its weights, which are compressed in place."""
    return RUNTIME_BYTES + size_bytes


def merge_bytes(checkpoint: Checkpoint, models: int, is_own: bool) -> float:
    """Host memory of a merge of so many models, tensor by tensor: the largest of each as stored.

    Methods of mergekit take each in float32 as well, and as much for changes, masks and the sum.
    """
    largest = embedding_bytes(checkpoint)
    in_float32 = 4 * largest / max(2, stored_item_bytes(checkpoint))
    return RUNTIME_BYTES + models * largest + (0 if is_own else (3 * models + 1) * in_float32)


class TrainingBytes(NamedTuple):
    """What one rank of a training takes, without activations."""

    weights: float
    gradients: float
    states: float
    """Of the optimizer, with its float32 copy of the weights; all three on the GPU."""
    host: float
    """What is offloaded."""

    @property
    def gpu(self) -> float:
        """All that is on the GPU."""
        return self.weights + self.gradients + self.states


class Sharding(NamedTuple):
    """How a training is cut up, in the words of `sft`."""

    zero_stage: int
    ranks: int
    offload: str = "none"
    is_float32: bool = False
    is_lora: bool = False


def training_bytes(weights: float, sharding: Sharding) -> TrainingBytes:
    """Weights, gradients and the optimizer's states of a rank, by the stage of ZeRO.

    Stage 1 cuts up the states, 2 the gradients as well, 3 the weights as well (arXiv 1910.02054,
    figure 1). Without DeepSpeed (0) all is in float32. What LoRA trains is too little to count, and
    so are gradients where the optimizer is offloaded: they leave the GPU as they are made.
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
    """A size in the GB of 2^30 bytes that settings have, too."""
    return f"{size_bytes / GB:.1f} GB"


def suggest_mem_gb(size_bytes: float) -> int:
    """The value of `mem_gb` for what takes at least so many bytes."""
    return ceil(MARGIN * size_bytes / GB)
