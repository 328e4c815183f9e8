"""The stages by name: a file in one of two folders is a stage; nobody imports one by itself."""

import importlib
from functools import cache
from typing import Any

from hala_hpc.core.errors import UserError, closest
from hala_hpc.core.paths import PACKAGE
from hala_hpc.core.stage import Stage

#: Packages whose modules are stages: those of the pipeline, and those that only the demo uses.
ROOMS = ("stages", "demo.stages")


@cache
def stage_modules() -> dict[str, str]:
    """The module of each stage by the name of the stage, without loading any."""
    return {
        path.stem: f"{PACKAGE.name}.{room}.{path.stem}"
        for room in ROOMS
        for path in sorted((PACKAGE / room.replace(".", "/")).glob("*.py"))
        if not path.stem.startswith("_")
    }


def stage_names() -> list[str]:
    """Names of all stages."""
    return sorted(stage_modules())


def find_stage(name: str) -> type[Stage[Any]]:
    """The stage of this name; raises UserError with the closest one."""
    if name not in stage_modules():
        raise UserError(f"unknown stage {name!r}: {closest(name, stage_names(), 'stages')}")
    stage: type[Stage[Any]] = importlib.import_module(stage_modules()[name]).STAGE
    return stage
