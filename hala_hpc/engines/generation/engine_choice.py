"""Finds the engine of the setting `engine.name`, and starts it in jobs.

`vllm` is built in. Other names are entry points of the group `hala_hpc.engines` of installed
packages, or `module:Class` of any module on the Python path of the jobs.
"""

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from hala_hpc.core.errors import CONFIG, UserError
from hala_hpc.core.foreign_code import record_loaded_module

if TYPE_CHECKING:
    # Needed in jobs only: a dry run loads this file to check a name.
    from hala_hpc.engines.generation.engine import Engine, EngineConfig

#: Entry point group in which packages register engines.
ENTRY_POINT_GROUP = "hala_hpc.engines"


def make_engine(config: "EngineConfig") -> "Engine":
    """Start the engine that the settings name; the caller closes it.

    An engine that is not built in returns texts, so the frames of its answers are stripped here.

    Raises: UserError (CONFIG) if no engine has this name, or if the engine refuses the model.
    """
    name = config.settings.name
    if name in BUILTIN_ENGINES:
        return BUILTIN_ENGINES[name](config)
    from hala_hpc.engines.generation.framed_engine import FramedEngine

    return FramedEngine(load_engine_class(name)(config), config)


def engine_mistakes(name: str) -> list[str]:
    """List what is wrong with a value of `engine.name`, for `preflight`; imports no engine.

    Only the form of `module:Class` is checked: the Python path of the jobs may differ.
    """
    try:
        resolve_engine_name(name)
    except UserError as error:
        return list(error.mistakes)
    return []


def start_vllm(config: "EngineConfig") -> "Engine":
    """Start the engine of `engine.name=vllm`."""
    from hala_hpc.engines.generation.vllm.engine import VllmEngine

    return VllmEngine(config)


#: Built-in engines by name.
BUILTIN_ENGINES: "dict[str, Callable[[EngineConfig], Engine]]" = {"vllm": start_vllm}


def resolve_engine_name(name: str) -> str:
    """Resolve a name to `module:Class`; empty for a built-in engine.

    Raises: UserError (CONFIG) if no engine has this name.
    """
    if name in BUILTIN_ENGINES:
        return ""
    if ":" in name:
        module, _, attribute = name.partition(":")
        if all(part.isidentifier() for part in [*module.split("."), attribute]):
            return name
        raise UserError(
            f"engine.name={name}: not of the form module:Class; write the dotted name of a module, "
            "a colon and the name of a class in it",
            CONFIG,
        )
    # Imported late: it takes as long as all other imports of a dry run, and is seldom needed.
    from importlib.metadata import entry_points

    offered = {point.name: point.value for point in entry_points(group=ENTRY_POINT_GROUP)}
    if name in offered:
        return offered[name]
    raise UserError(
        f"engine.name={name}: unknown engine; known are "
        f"{', '.join(sorted({*BUILTIN_ENGINES, *offered}))}; write one of them or module:Class, or "
        f"install the package that registers it (entry point group {ENTRY_POINT_GROUP})",
        CONFIG,
    )


def load_engine_class(name: str) -> "Callable[[EngineConfig], Engine]":
    """Load the class of an engine that is not built in, or a function that makes the engine.

    Raises: UserError (CONFIG) if it does not exist.
    """
    module, _, attribute = resolve_engine_name(name).partition(":")
    try:
        found: Callable[[EngineConfig], Engine] = getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise UserError(
            f"engine.name={name}: {error}; put the folder of the module on PYTHONPATH in "
            "[environment] of the launcher, or install its package where the jobs run",
            CONFIG,
        ) from None
    except AttributeError:
        raise UserError(
            f"engine.name={name}: {module} has no {attribute}; write the name of a class in it",
            CONFIG,
        ) from None
    record_loaded_module(module)
    return found
