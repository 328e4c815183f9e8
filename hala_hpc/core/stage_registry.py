"""Find stages by name: ours are files in two folders; a lab's own are looked up after those."""

import importlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hala_hpc.core.errors import UserError, suggest_name
from hala_hpc.core.paths import PACKAGE, expand_path
from hala_hpc.core.records import StageSource
from hala_hpc.core.stage import Stage

#: Packages whose modules are stages: those of the pipeline, and those that only the demo uses.
STAGE_PACKAGES = ("stages", "demo.stages")
#: Suffix of a stage file; no name of a stage has it.
STAGE_FILE_SUFFIX = ".py"


@dataclass(frozen=True)
class FoundStage:
    """A stage and its source."""

    stage: type[Stage[Any]]
    source: StageSource | None = None
    """None for one of ours."""


@cache
def stage_modules() -> dict[str, str]:
    """The module of each of our stages by the name of the stage, without loading any."""
    return {
        path.stem: f"{PACKAGE.name}.{package}.{path.stem}"
        for package in STAGE_PACKAGES
        for path in sorted((PACKAGE / package.replace(".", "/")).glob("*.py"))
        if not path.stem.startswith("_")
    }


def stage_names() -> list[str]:
    """Names of all our stages."""
    return sorted(stage_modules())


def find_stage(name: str, source: StageSource | None = None) -> type[Stage[Any]]:
    """One of ours, or the stage of an artifact whose records name its source.

    Raises: UserError for an unknown name, and for a source that is gone, unsafe or changed.
    """
    if source is not None:
        from hala_hpc.core.foreign_stages import load_unchanged

        return load_unchanged(name, source)
    if name not in stage_modules():
        raise UserError(f"unknown stage {name!r}: {suggest_name(name, stage_names(), 'stages')}")
    stage: type[Stage[Any]] = importlib.import_module(stage_modules()[name]).STAGE
    return stage


def look_up_stage(name: str, folder: Path) -> FoundStage:
    """Resolve `stage = "..."` of a recipe: one of ours, a file, or one of an installed package.

    A file ends in `.py` and is relative to `folder`, that of the recipe. Raises: UserError for a
    stage that does not exist, cannot be imported, is not valid, or that another user could write.
    """
    if name in stage_modules():
        return FoundStage(find_stage(name))
    # Imported only here: it reads files of others, and the metadata of all packages.
    from hala_hpc.core import foreign_stages

    if name.endswith(STAGE_FILE_SUFFIX):
        return FoundStage(
            *foreign_stages.load_file(folder / expand_path("stage", name), stage_names())
        )
    return FoundStage(*foreign_stages.load_entry_point(name, stage_names()))
