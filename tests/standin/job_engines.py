"""The engines of jobs in tests, chosen by `engine.name=job_engines:standin` or `job_engines:vllm`.

Both are held, and the stand-in runs out of memory, if HALA_FAULT is set (see `faults.py`). With
HALA_ENGINE_LOG set, vLLM notes each answer in that file, as the stand-in does in its own.
"""

import os
from dataclasses import replace
from pathlib import Path

from faults import fault_settings
from standin_engine import StandInEngine
from wrapped_engine import HeldEngine, NotingEngine

from hala_hpc.engines.generation.engine import Engine, EngineConfig
from hala_hpc.engines.generation.engine_choice import make_engine


def standin(config: EngineConfig) -> Engine:
    """The stand-in."""
    max_rows, rows = fault_settings().get("gpu_memory"), config.settings.max_num_seqs
    if max_rows is not None and (rows is None or rows > int(max_rows)):
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    return held(StandInEngine(config))


def vllm(config: EngineConfig) -> Engine:
    """The real engine."""
    settings = config.settings.model_copy(update={"name": "vllm"})
    engine = held(make_engine(replace(config, settings=settings)))
    log = os.environ.get("HALA_ENGINE_LOG")
    return NotingEngine(engine, log) if log else engine


def held(engine: Engine) -> Engine:
    """The engine, which waits for the file of a test where one is set."""
    faults = fault_settings()
    if "hold" in faults and "after" in faults:
        return HeldEngine(engine, Path(faults["hold"]), int(faults["after"]))
    return engine
