"""The engine that the setting `engine.name` names: found by name, started in jobs.

`vllm` is this project's own. Other names are entry points of the group `hala_hpc.engines`, which
installed packages offer, or `module:Class` of any module on the Python path of the jobs.
"""

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from hala_hpc.core.errors import CONFIG, UserError
from hala_hpc.core.foreign_code import record_loaded_module

if TYPE_CHECKING:
    # What only jobs need: a dry run loads this file to look at a name.
    from hala_hpc.engines.generation.engine import Engine, EngineConfig

#: Entry points by which packages offer engines.
ENTRY_POINT_GROUP = "hala_hpc.engines"


def make_engine(config: "EngineConfig") -> "Engine":
    """Start the engine that the settings name; it is the caller's to close.

    Of one that is not ours what frames its answers is cut here: it hands over texts.

    Raises UserError (78) for a name that nobody offers, and for a model that the engine refuses.
    """
    name = config.settings.name
    if name in BUILTIN_ENGINES:
        return BUILTIN_ENGINES[name](config)
    from hala_hpc.engines.generation.framed_engine import FramedEngine

    return FramedEngine(load_engine_class(name)(config), config)


def engine_mistakes(name: str) -> list[str]:
    """What is wrong with a value of `engine.name`, for `preflight`; imports no engine.

    Of `module:Class` only the form is looked at: the Python path of the jobs may be another.
    """
    try:
        resolve_engine_name(name)
    except UserError as error:
        return list(error.mistakes)
    return []


def start_vllm(config: "EngineConfig") -> "Engine":
    """The engine of `engine.name=vllm`."""
    from hala_hpc.engines.generation.vllm.engine import VllmEngine

    return VllmEngine(config)


#: The engines of this project by their names.
BUILTIN_ENGINES: "dict[str, Callable[[EngineConfig], Engine]]" = {"vllm": start_vllm}


def resolve_engine_name(name: str) -> str:
    """`module:Class` of an engine that is not ours; empty for ours.

    Raises UserError (78) for a name that nobody offers.
    """
    if name in BUILTIN_ENGINES:
        return ""
    if ":" in name:
        module, _, attribute = name.partition(":")
        if all(part.isidentifier() for part in [*module.split("."), attribute]):
            return name
        raise UserError(
            f"engine.name={name}: this is not module:Class; write the dotted name of a module, a "
            "colon and the name of a class in it",
            CONFIG,
        )
    # Takes as long to import as all else that a dry run needs, and is seldom needed.
    from importlib.metadata import entry_points

    offered = {point.name: point.value for point in entry_points(group=ENTRY_POINT_GROUP)}
    if name in offered:
        return offered[name]
    raise UserError(
        f"engine.name={name}: nobody offers this engine; known are "
        f"{', '.join(sorted({*BUILTIN_ENGINES, *offered}))}; write one of them or module:Class, or install the "
        f"package that offers it (entry point group {ENTRY_POINT_GROUP})",
        CONFIG,
    )


def load_engine_class(name: str) -> "Callable[[EngineConfig], Engine]":
    """The class of an engine that is not ours, or whatever makes one of an EngineConfig.

    Raises UserError (78) when it is not there.
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
