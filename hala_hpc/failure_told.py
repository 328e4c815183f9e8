"""What an attempt tells of the error that ends it, so that the gate knows its kind."""

import traceback
from pathlib import Path
from typing import Any

from hala_hpc.engines.engine_errors import is_gpu_out_of_memory
from hala_hpc.engines.node_check import BadNode
from hala_hpc.jobs.failures.classify import GPU_MEMORY, HOST_MEMORY, NODE


def signature_of(error: BaseException) -> str:
    """The type of an error and the last frame of ours in its traceback.

    `ZeroDivisionError in hala_hpc/stages/tiny.py, line 70, run`: the same for the same defect,
    whatever the values are.
    """
    home = Path(__file__).parent
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if home in Path(frame.filename).parents]
    if not ours:
        return type(error).__name__
    last = ours[-1]
    path = Path(last.filename).relative_to(home.parent)
    return f"{type(error).__name__} in {path}, line {last.lineno}, {last.name}"


def told_by(error: BaseException) -> dict[str, Any]:
    """What an error tells of its kind, for the record of the attempt."""
    if isinstance(error, BadNode):
        return {"kind": NODE, "nodes": list(error.nodes)}
    kind = HOST_MEMORY if isinstance(error, MemoryError) else ""
    kind = GPU_MEMORY if is_gpu_out_of_memory(error, "") else kind
    return {"kind": kind, "signature": signature_of(error)}
