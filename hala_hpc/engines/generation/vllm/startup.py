"""Starts a vLLM engine: the options that follow from the settings and from the machine."""

import os
import sys
import weakref
from pathlib import Path
from typing import Any

from hala_hpc.core.environment import set_job_environment
from hala_hpc.engines.generation.model_fit import Gpu
from hala_hpc.engines.generation.settings import EngineSettings
from hala_hpc.engines.generation.vllm.memory_check import refuse_misfits, visible_gpus
from hala_hpc.engines.models.architecture import has_row_states
from hala_hpc.engines.models.compile_cache import CompileCache, processor, seed_file
from hala_hpc.engines.models.vocabulary import require_vocabulary

#: The CPU kernel of rotary embeddings (vLLM 0.32) rotates the 3-dimensional tensors of LFM2 by
#: wrong angles; the native one is right. `test_vllm_engine.py` tests both. Chunked prefill ends the
#: engine if an answer is sampled with a seed: vLLM rewinds the random numbers of the steps before
#: the last, and the generator of a CPU cannot be rewound.
CPU_OPTIONS = {
    "compilation_config": {"custom_ops": ["all", "-rotary_embedding"]},
    "enable_chunked_prefill": False,
}
#: Rows up to which vLLM captures CUDA graphs by default, on Hopper and before (vLLM 0.32,
#: `VllmConfig._set_cudagraph_sizes`). The steps between captured sizes are
#: smaller below 256 rows. vLLM measures the graphs before it sizes the cache.
DEFAULT_GRAPH_ROWS = 512
GRAPH_STEP, WIDE_GRAPH_ROWS, WIDE_GRAPH_STEP = 8, 256, 16
#: Options that do not change the compiled code.
UNCOMPILED = (
    "model",
    "enable_prefix_caching",
    "seed",
    "gpu_memory_utilization",
    "disable_log_stats",
)


def start_engine(model: str, settings: EngineSettings, cache_folder: Path | None = None) -> Any:
    """Start a vLLM engine for a model; on a CPU it runs in this process.

    `cache_folder` holds the seeds of compiled code, one for each configuration; None for none.

    Raises: UserError (CONFIG) if the model cannot run on this machine, (BAD_DATA) if its tokenizer
    is not its own.
    """
    require_vocabulary(model)
    set_job_environment()
    gpus = visible_gpus()
    refuse_misfits(model, settings, gpus)
    on_cpu = gpus is None
    options = engine_options(model, settings, on_cpu)
    if on_cpu:
        # Two more processes would import for most of a minute and gain nothing.
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    if on_cpu and options["enforce_eager"]:
        return load_engine(options)
    cache = CompileCache(cache_folder and seed_file(cache_folder, compile_facts(options, gpus)))
    try:
        llm = load_engine(options)
    except BaseException:
        cache.remove()
        raise
    cache.publish()
    weakref.finalize(llm, cache.remove)
    return llm


def load_engine(options: dict[str, Any]) -> Any:
    """Create the engine. vLLM is imported late: some libraries read their folders at import."""
    from vllm import LLM

    return LLM(**options)


def engine_options(model: str, settings: EngineSettings, on_cpu: bool) -> dict[str, Any]:
    """Arguments of `vllm.LLM`."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(model).get_text_config()
    # vLLM 0.32 defers a row whose prefix was computed in the same step, and admits no other in its
    # place: on a CPU 16 to 31 rows ran at once where 128 could.
    caches = not has_row_states(config)
    is_eager = on_cpu if settings.enforce_eager is None else settings.enforce_eager
    return {
        "model": model,
        "dtype": settings.dtype,
        "max_model_len": context_tokens(config, settings.max_model_len),
        "kv_cache_dtype": settings.kv_cache_dtype,
        "seed": settings.seed,
        "tensor_parallel_size": settings.tensor_parallel_size,
        "gpu_memory_utilization": settings.gpu_memory_utilization,
        "enforce_eager": is_eager,
        "disable_log_stats": True,
        "enable_prefix_caching": caches
        if settings.prefix_caching is None
        else settings.prefix_caching,
        **size_options(settings, context_tokens(config, settings.max_model_len), on_cpu),
        **({} if on_cpu or is_eager else graph_options(settings)),
        **(CPU_OPTIONS if on_cpu else {}),
    }


def graph_options(settings: EngineSettings) -> dict[str, int]:
    """Largest size of CUDA graphs; empty if vLLM's default reaches `max_num_seqs`."""
    rows = settings.max_num_seqs
    wanted = settings.cuda_graph_rows or rows
    if wanted is None or (settings.cuda_graph_rows is None and wanted <= DEFAULT_GRAPH_ROWS):
        return {}
    # vLLM would round a size that it does not capture down to the one below.
    step = GRAPH_STEP if wanted < WIDE_GRAPH_ROWS else WIDE_GRAPH_STEP
    return {"max_cudagraph_capture_size": -(-wanted // step) * step}


def size_options(settings: EngineSettings, context: int, on_cpu: bool) -> dict[str, int]:
    """Sizes that are not left to vLLM. `context`: tokens of prompt and answer."""
    step_tokens = settings.max_num_batched_tokens
    if on_cpu and step_tokens is not None:
        # A whole prompt must fit into a step.
        step_tokens = max(step_tokens, context)
    sizes = {
        "max_num_seqs": settings.max_num_seqs,
        "max_num_batched_tokens": step_tokens,
        "kv_cache_memory_bytes": int(settings.cpu_cache_gb * 2**30) if on_cpu else None,
    }
    return {name: size for name, size in sizes.items() if size is not None}


def context_tokens(config: Any, wanted: int) -> int:
    """Context length of a model: the setting, or what the model allows if that is less."""
    return min(wanted, getattr(config, "max_position_embeddings", wanted))


def compile_facts(options: dict[str, Any], gpus: list[Gpu] | None) -> dict[str, Any]:
    """All that determines the compiled code of an engine, as JSON values.

    The path of the model is part of it, as vLLM 0.32 finds nothing under another path.
    """
    import torch
    import vllm
    import vllm.envs

    # An engine that ran in this process before has fixed these for its lifetime (also the path of
    # the cache).
    vllm.envs.disable_envs_cache()
    config = Path(options["model"]) / "config.json"
    return {
        "versions": [sys.version, torch.__version__, vllm.__version__],
        "gpus": [(gpu.name, gpu.capability) for gpu in gpus or []],
        "processor": processor(),
        "model": options["model"],
        "config": config.read_text(encoding="utf-8") if config.is_file() else "",
        "options": {name: value for name, value in options.items() if name not in UNCOMPILED},
        "environment": vllm.envs.compile_factors(),
    }
