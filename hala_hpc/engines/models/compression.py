"""Quantize a checkpoint to FP8 part by part, so that a job needs memory for one part only.

A scheme without calibration data changes each weight independently. LLM Compressor gets an outline
of the model (shapes without weights) and determines the scheme of each layer and the entries of
config.json. Then its steps for one weight (`llmcompressor.entrypoints.model_free`) are applied to
the tensors of the files, a few GB at a time. The result equals that for the whole model, bit for
bit. A checkpoint whose tensors change while it is loaded is still compressed as a whole.
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

#: Types of safetensors, as config.json names them.
FLOATS = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}
INDEX_FILE = "model.safetensors.index.json"


class CompressionTask(NamedTuple):
    """The model to compress, and the scheme."""

    source: Path
    scheme: str
    """A preset scheme of LLM Compressor without calibration data, e.g. FP8_DYNAMIC."""
    ignore: tuple[str, ...]
    """Linear layers to leave unchanged: names, or `re:` and a regular expression."""
    part_bytes: int = PART_BYTES
    """Bytes of weights read before their result is written; a larger tensor is its own part."""


class Outline(NamedTuple):
    """A model without its weights, and the schemes of its layers."""

    compressor: Any
    """LLM Compressor's writer of config.json."""
    schemes: Mapping[str, Any]
    """Scheme by the name of each compressed layer."""
    names: frozenset[str]
    """Tensors of a checkpoint of it; one that two layers share has its first name."""
    has_shared: bool
    """Whether a compressed layer shares its weight with another."""


class Part(NamedTuple):
    """Tensors whose results are written to one file."""

    name: str
    tensors: Mapping[str, Path]
    """The source file of each tensor."""


def compress(task: CompressionTask, folder: Path, out: UnitContext, unit: int = 0) -> bool:
    """Write the compressed model into `folder`; return False if a stop was requested before.

    Finished parts are in `out.state_dir(unit)`; the next attempt resumes after them.

    Raises: UserError (CONFIG) if only the whole model can be compressed and the job has too little
    memory.
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
        # A part that is absent or cut short is written.
        if weight_faults(state_dir / part.name):
            write_part(part, outline, state_dir / part.name)
        out.report_progress(step=number + 1, steps_total=len(parts))
    assemble_model(task.source, state_dir, [part.name for part in parts], folder)
    outline.compressor.update_config(folder)
    return True


def make_outline(task: CompressionTask) -> Outline:
    """Determine what LLM Compressor does to each layer, from the model's shapes only."""
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
    # As LLM Compressor saves a model; only the shapes are compressed, for the entries of
    # config.json.
    compressor = ModelCompressor.from_pretrained_model(model)
    compressor.compress_model(model)
    return Outline(compressor, schemes, own | lasting, shared)


def stored_tensors(source: Path) -> dict[Path, dict[str, TensorHeader]]:
    """Return type and shape of the tensors of each safetensors file; other files are left out."""
    found = {}
    for file in weight_files(source):
        header = read_header(file) if file.suffix == ".safetensors" else None
        if header is not None:
            found[file] = header.tensors
    return found


def find_whole_model_reason(
    source: Path, outline: Outline, headers: Mapping[Path, Mapping[str, TensorHeader]]
) -> str:
    """Return why a checkpoint cannot be compressed part by part; "" if it can."""
    stored = {name: header for tensors in headers.values() for name, header in tensors.items()}
    if not stored:
        return "its weights are not safetensors"
    # transformers changes the name or shape of some tensors while it loads them.
    if missing := outline.names - stored.keys():
        return f"its files have no tensor {min(missing)}, which the loaded model has"
    if outline.has_shared:
        return "a compressed layer shares its weight with another"
    config: dict[str, Any] = read_json(source / "config.json")
    named_dtype = config.get("dtype") or config.get("torch_dtype")
    types = {header.dtype for header in stored.values() if header.dtype in FLOATS}
    # transformers casts all tensors to the type in config.json.
    if len(types) > 1 or (named_dtype and {FLOATS[one] for one in types} - {named_dtype}):
        return f"its tensors are {', '.join(sorted(types))}, and config.json has {named_dtype}"
    return ""


def split_into_parts(
    headers: Mapping[Path, Mapping[str, TensorHeader]], names: frozenset[str], part_bytes: int
) -> Iterator[Part]:
    """Yield the tensors of a model in their order, in parts of at most `part_bytes` bytes."""
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
                # Layers and their observers refer to each other, which keeps weights in memory.
                gc.collect()
            else:
                made[name] = stored.get_tensor(name)
    with atomic_file(target) as temporary:
        save_file(made, temporary, metadata={"format": "pt"})


def compress_weight(layer: str, weight: Any, scheme: Any) -> dict[str, Any]:
    """Compress the weight of a layer; return its tensors by name: values and scales."""
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
    """Make the model folder from the finished parts, with config and tokenizer unchanged."""
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
    """Check that the whole model fits this job's memory. Raises: UserError (CONFIG) if not."""
    need, there = whole_compression_bytes(weight_bytes(source)), job_memory_bytes()
    if need > there:
        raise UserError(
            f"model {source} is compressed as a whole ({reason}), which takes {format_gb(need)}, "
            f"and this job has {format_gb(there)}; set resources.mem_gb={suggest_mem_gb(need)}",
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
