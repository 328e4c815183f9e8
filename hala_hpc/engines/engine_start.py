"""Starts a vLLM engine: the options that follow from the settings and from the machine."""

import os
import tempfile
from pathlib import Path
from typing import Any
from uuid import uuid4

from hala_hpc.engines.job_environment import prepare_environment
from hala_hpc.engines.settings import EngineSettings

#: The CPU kernel of rotary embeddings (vLLM 0.32) rotates the 3-dimensional tensors that LFM2
#: hands it by wrong angles; the native one is right. `tests/test_engine.py` holds both to it.
CPU_OPTIONS = {"compilation_config": {"custom_ops": ["all", "-rotary_embedding"]}}


def start_engine(model: str, settings: EngineSettings) -> Any:
    """A vLLM engine for a model, in this process where it is a CPU."""
    prepare_environment()
    from vllm import LLM
    from vllm.platforms import current_platform

    on_cpu = current_platform.is_cpu()
    if on_cpu:
        # Two processes more would import for most of a minute and bring nothing.
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    else:
        # Engines that compile into one cache corrupt it: each job has its own, on the node's disk.
        private = Path(tempfile.gettempdir()) / f"hala-vllm-{uuid4().hex}"
        os.environ.setdefault("VLLM_CACHE_ROOT", str(private))
    return LLM(
        model,
        dtype=settings.dtype,
        max_model_len=context_tokens(model, settings.max_model_len),
        kv_cache_dtype=settings.kv_cache_dtype,
        seed=settings.seed,
        tensor_parallel_size=settings.tensor_parallel_size,
        gpu_memory_utilization=settings.gpu_memory_utilization,
        enforce_eager=on_cpu if settings.enforce_eager is None else settings.enforce_eager,
        disable_log_stats=True,
        **size_options(settings, on_cpu),
        **(CPU_OPTIONS if on_cpu else {}),
    )


def size_options(settings: EngineSettings, on_cpu: bool) -> dict[str, int]:
    """Those sizes that are not left to vLLM."""
    sizes = {
        "max_num_seqs": settings.max_num_seqs,
        "max_num_batched_tokens": settings.max_num_batched_tokens,
        "kv_cache_memory_bytes": int(settings.cpu_cache_gb * 2**30) if on_cpu else None,
    }
    return {name: size for name, size in sizes.items() if size is not None}


def context_tokens(model: str, wanted: int) -> int:
    """The context to start a model with: what is wanted, or what the model allows if less."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(model).get_text_config()
    return min(wanted, getattr(config, "max_position_embeddings", wanted))
