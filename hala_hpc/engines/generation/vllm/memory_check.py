"""Refuses a model that cannot run on the machine's GPUs, before anything of it is loaded."""

from pathlib import Path

from hala_hpc.core.cgroup_memory import job_memory_bytes
from hala_hpc.core.errors import CONFIG, UserError
from hala_hpc.engines.generation.model_fit import Gpu, find_engine_misfits, read_memory_requirement
from hala_hpc.engines.generation.settings import EngineSettings


def refuse_misfits(model: str, settings: EngineSettings, gpus: list[Gpu] | None) -> None:
    """Refuse a model that cannot run on these GPUs.

    A model that is no folder, or whose config.json does not have its shape, is left to vLLM.

    Raises: UserError (CONFIG) with the sizes if the model cannot run.
    """
    need = read_memory_requirement(Path(model), settings)
    mistakes = find_engine_misfits(need, settings, gpus, job_memory_bytes()) if need else []
    if mistakes:
        raise UserError([f"model={model}: {mistake}" for mistake in mistakes], CONFIG)


def visible_gpus() -> list[Gpu] | None:
    """GPUs of this job; None with a vLLM that was built for CPUs.

    vLLM queries the driver for them: torch would take memory on each GPU for as long as this
    process lives.
    """
    from vllm.platforms import current_platform

    if current_platform.is_cpu():
        return None
    gpus: list[Gpu] = []
    if not current_platform.is_cuda_alike():  # a vLLM for GPUs that found none
        return gpus
    for number in range(current_platform.device_count()):
        capability = current_platform.get_device_capability(number)
        gpus.append(
            Gpu(
                current_platform.get_device_name(number),
                (capability.major, capability.minor) if capability else (0, 0),
                current_platform.get_device_total_memory(number),
            )
        )
    return gpus
