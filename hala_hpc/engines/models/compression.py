"""FP8 of a checkpoint, part by part, so that the memory of a job follows from a part of it.

A scheme that needs no calibration data changes each weight by itself. So LLM Compressor looks at an
outline of the model, which has shapes and no weights, and says what becomes of which layer and what
config.json tells; then its steps for one weight (`llmcompressor.entrypoints.model_free`) are done
to the tensors of the files, a few GB at a time. The result is that of its way with the whole model,
bit for bit. A checkpoint that becomes another only while it is loaded goes that way still.
"""

import gc
import logging
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from hala_hpc.core.cgroup_memory import job_memory_bytes
from hala_hpc.core.errors import CONFIG, UserError
from hala_hpc.core.files import atomic_file, read_json, write_json
from hala_hpc.core.stage import UnitContext
from hala_hpc.engines.models.files import (
    TensorHeader,
    copy_tokenizer,
    link_or_copy,
    read_header,
    weight_faults,
    weight_files,
)
from hala_hpc.engines.models.memory import (
    PART_BYTES,
    format_gb,
    suggest_mem_gb,
    whole_compression_bytes,
)
from hala_hpc.engines.models.tensors import weight_bytes

logger = logging.getLogger(__name__)

#: Types of safetensors by the words of a config.json.
FLOATS = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}
INDEX_FILE = "model.safetensors.index.json"


class CompressionTask(NamedTuple):
    """What is compressed, and how."""

    source: Path
    scheme: str
    """A preset of LLM Compressor without calibration data, e.g. FP8_DYNAMIC."""
    ignore: tuple[str, ...]
    """Linear layers left as they are: names, or `re:` and a regular expression."""
    part_bytes: int = PART_BYTES
    """Weights that are read before their result is written; a larger tensor is a part alone."""


class Outline(NamedTuple):
    """A model without its weights, and what becomes of its layers."""

    compressor: Any
    """LLM Compressor's writer of config.json."""
    schemes: Mapping[str, Any]
    """By the name of each layer that is compressed."""
    names: frozenset[str]
    """Tensors that a checkpoint of it has; one that two layers share has its first name."""
    has_shared: bool
    """Whether a layer that is compressed shares its weight with another."""


class Part(NamedTuple):
    """Tensors whose results are one file."""

    name: str
    tensors: Mapping[str, Path]
    """The file that each is read from."""


def compress(task: CompressionTask, folder: Path, out: UnitContext, unit: int = 0) -> bool:
    """Write the compressed model into `folder`; False where the job was told to leave before.

    Parts that an attempt has finished are in `out.kept(unit)`, and the next one goes on behind
    them. Raises UserError 78 where only the whole model will do and the job has too little memory.
    """
    outline = make_outline(task)
    headers = stored_tensors(task.source)
    if reason := find_whole_model_reason(task.source, outline, headers):
        logger.info("compressing the whole model at once: %s", reason)
        require_memory(task.source, reason)
        compress_whole(task, folder)
        return True
    parts = list(split_into_parts(headers, outline.names, task.part_bytes))
    state_dir = out.state_dir(unit)
    for number, part in enumerate(parts):
        if out.stop_requested:
            return False
        # One that is absent or cut short is made.
        if weight_faults(state_dir / part.name):
            write_part(part, outline, state_dir / part.name)
        out.report_progress(step=number + 1, steps_total=len(parts))
    assemble_model(task.source, state_dir, [part.name for part in parts], folder)
    outline.compressor.update_config(folder)
    return True


def make_outline(task: CompressionTask) -> Outline:
    """What LLM Compressor would do to each layer, asked of the model's shapes alone."""
    import torch
    from compressed_tensors.compressors import ModelCompressor
    from compressed_tensors.quantization.utils import is_module_quantized
    from llmcompressor.modifiers.quantization import QuantizationModifier
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(task.source)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    own = frozenset(name for name, _ in model.named_parameters())
    every = dict(model.named_parameters(remove_duplicate=False))
    lasting = frozenset(model.state_dict()) - every.keys()
    modifier = QuantizationModifier(targets="Linear", scheme=task.scheme, ignore=list(task.ignore))
    modifier.initialize_quantization(model)
    schemes = {
        name: module.quantization_scheme
        for name, module in model.named_modules()
        if is_module_quantized(module)
    }
    uses = [id(weight) for weight in every.values()]
    shared = any(uses.count(id(every[f"{name}.weight"])) > 1 for name in schemes)
    # As LLM Compressor saves a model; the shapes alone are compressed, for what config.json says.
    compressor = ModelCompressor.from_pretrained_model(model)
    compressor.compress_model(model)
    return Outline(compressor, schemes, own | lasting, shared)


def stored_tensors(source: Path) -> dict[Path, dict[str, TensorHeader]]:
    """Type and shape of the tensors of each file; none of those that are no safetensors."""
    found = {}
    for file in weight_files(source):
        header = read_header(file) if file.suffix == ".safetensors" else None
        if header is not None:
            found[file] = header.tensors
    return found


def find_whole_model_reason(
    source: Path, outline: Outline, headers: Mapping[Path, Mapping[str, TensorHeader]]
) -> str:
    """Why a checkpoint cannot be compressed part by part; "" where it can."""
    stored = {name: header for tensors in headers.values() for name, header in tensors.items()}
    if not stored:
        return "its weights are no safetensors"
    # transformers gives some tensors another name or shape while it loads them.
    if missing := outline.names - stored.keys():
        return f"its files have no tensor {min(missing)}, as the loaded model has"
    if outline.has_shared:
        return "a layer that is compressed shares its weight with another"
    config: dict[str, Any] = read_json(source / "config.json")
    named_dtype = config.get("dtype") or config.get("torch_dtype")
    types = {header.dtype for header in stored.values() if header.dtype in FLOATS}
    # transformers gives all the type that config.json names.
    if len(types) > 1 or (named_dtype and {FLOATS[one] for one in types} - {named_dtype}):
        return f"its tensors are {', '.join(sorted(types))}, and config.json says {named_dtype}"
    return ""


def split_into_parts(
    headers: Mapping[Path, Mapping[str, TensorHeader]], names: frozenset[str], part_bytes: int
) -> Iterator[Part]:
    """The tensors of a model in their order, cut into parts of at most so many bytes."""
    groups: list[dict[str, Path]] = [{}]
    filled = 0
    for file, tensors in headers.items():
        for name in (name for name in tensors if name in names):
            size = tensors[name].size_bytes
            if groups[-1] and filled + size > part_bytes:
                groups.append({})
                filled = 0
            groups[-1][name] = file
            filled += size
    for number, group in enumerate(groups, 1):
        ending = f"-{number:05d}-of-{len(groups):05d}" if len(groups) > 1 else ""
        yield Part(f"model{ending}.safetensors", group)


def write_part(part: Part, outline: Outline, target: Path) -> None:
    """Compress the tensors of a part, one at a time, and write their file."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    made: dict[str, Any] = {}
    for name, file in part.tensors.items():
        layer, _, kind = name.rpartition(".")
        with safe_open(file, framework="pt") as stored:
            if kind == "weight" and layer in outline.schemes:
                made |= compress_weight(layer, stored.get_tensor(name), outline.schemes[layer])
                # Layers and their observers refer to each other: they would hold weights on.
                gc.collect()
            else:
                made[name] = stored.get_tensor(name)
    with atomic_file(target) as temporary:
        save_file(made, temporary, metadata={"format": "pt"})


def compress_weight(layer: str, weight: Any, scheme: Any) -> dict[str, Any]:
    """The tensors that the weight of a layer becomes, by name: numbers and scales."""
    import torch
    from compressed_tensors.compressors import compress_module
    from llmcompressor.entrypoints.model_free.lifecycle import (
        calibrate_weight,
        initialize_quantized_linear,
    )

    device = "cuda" if torch.cuda.is_available() else "cpu"
    module = initialize_quantized_linear(weight, scheme, device)
    calibrate_weight(module)
    compress_module(module)
    return {name: one.cpu() for name, one in module.state_dict(prefix=f"{layer}.").items()}


def assemble_model(source: Path, state_dir: Path, names: list[str], folder: Path) -> None:
    """A model folder of the finished parts, with config and tokenizer as they were."""
    places: dict[str, str] = {}
    total = 0
    for name in names:
        header = read_header(state_dir / name)
        assert header is not None, name
        places |= dict.fromkeys(header.tensors, name)
        total += sum(one.size_bytes for one in header.tensors.values())
        link_or_copy(state_dir / name, folder / name)
    if len(names) > 1:
        write_json(folder / INDEX_FILE, {"metadata": {"total_size": total}, "weight_map": places})
    shutil.copyfile(source / "config.json", folder / "config.json")
    copy_tokenizer(source, folder)


def require_memory(source: Path, reason: str) -> None:
    """Raise UserError 78 where the whole model is more than the memory of this job."""
    need, there = whole_compression_bytes(weight_bytes(source)), job_memory_bytes()
    if need > there:
        raise UserError(
            f"model {source} is compressed as a whole ({reason}), which takes {format_gb(need)}, and this "
            f"job has {format_gb(there)}; set resources.mem_gb={suggest_mem_gb(need)}",
            CONFIG,
        )


def compress_whole(task: CompressionTask, folder: Path) -> None:
    """Load the model, compress it, and write it with its tokenizer."""
    from llmcompressor import oneshot
    from llmcompressor.modifiers.quantization import QuantizationModifier
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(task.source, dtype="auto")
    scheme = QuantizationModifier(targets="Linear", scheme=task.scheme, ignore=list(task.ignore))
    oneshot(model=model, recipe=scheme)
    model.save_pretrained(folder, save_compressed=True)
    AutoTokenizer.from_pretrained(task.source).save_pretrained(folder)
