"""The stages by name: a file in `hala_hpc/stages/` is a stage; nobody imports one by itself."""

import importlib
from functools import cache
from typing import Any

from hala_hpc.core.errors import UserError, closest
from hala_hpc.core.paths import PACKAGE
from hala_hpc.core.stage import Stage


@cache
def stage_names() -> list[str]:
    """Names of all stages, without loading them."""
    found = (path.stem for path in (PACKAGE / "stages").glob("*.py"))
    return sorted(name for name in found if not name.startswith("_"))


def find_stage(name: str) -> type[Stage[Any]]:
    """The stage of this name; raises UserError with the closest one."""
    if name not in stage_names():
        raise UserError(f"unknown stage {name!r}: {closest(name, stage_names(), 'stages')}")
    stage: type[Stage[Any]] = importlib.import_module(f"hala_hpc.stages.{name}").STAGE
    return stage
