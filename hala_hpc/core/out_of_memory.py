"""Whether an engine's failure means that the GPU's memory was too small."""

import sys

#: What torch writes to the log of an engine's process if the GPU's memory is too small.
TORCH_PHRASES = ("torch.OutOfMemoryError", "torch.cuda.OutOfMemoryError", "CUDA out of memory")
#: The same from other allocators: cuBLAS, NCCL, the CUDA driver, HIP.
ALLOCATOR_PHRASES = (
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "Cuda failure 2 'out of memory'",
    "HIP out of memory",
)


def is_gpu_out_of_memory(error: BaseException, log_tail: str) -> bool:
    """Whether the GPU's memory was too small for what the engine was asked.

    `log_tail` is what this attempt wrote to its log. If an engine died in a process of its own,
    only the log has the reason.
    """
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return True
    # Older parts of torch and other libraries raise a RuntimeError with these phrases.
    phrases = TORCH_PHRASES + ALLOCATOR_PHRASES
    if isinstance(error, RuntimeError) and any(phrase in str(error) for phrase in phrases):
        return True
    return is_engine_death(error) and any(phrase in log_tail for phrase in phrases)


def is_engine_death(error: BaseException) -> bool:
    """Whether an error of vLLM means that its engine's process is gone."""
    exceptions = sys.modules.get("vllm.v1.engine.exceptions")
    return exceptions is not None and isinstance(error, exceptions.EngineDeadError)
