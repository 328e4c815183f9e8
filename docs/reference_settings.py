"""Pages of the reference about settings: of each stage, of resources, and of a launcher."""

import inspect
import re
from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from hala_hpc.backends.slurm.sbatch import ALLOWED_OPTIONS, EXTRA_OPTIONS, MANAGED_OPTIONS
from hala_hpc.commands.help import field_docs, type_name
from hala_hpc.core.launcher import Launcher
from hala_hpc.core.paths import shipped_names
from hala_hpc.core.resources import GATE_RESOURCES, Resources
from hala_hpc.core.stage_registry import find_stage

MADE = "<!-- made by docs/reference_pages.py -->\n\n"
#: What each of our own sbatch options does; the others are those of sbatch.
EXTRA_MEANINGS = {
    "gpu_type": "type in the request for GPUs: `h100` requests `h100:8` instead of `8`",
    "gpu_flag": "flag with which GPUs are requested",
    "signal_delay_s": "seconds between the signal to a job and its time limit (default: 120)",
    "max_running": "workers of a node that may run at once",
}


def stage_page(name: str) -> str:
    """All settings of a stage, with those of nested tables under dotted names."""
    stage = find_stage(name)
    module = inspect.getmodule(stage)
    about = inspect.cleandoc(module.__doc__ or "") if module else ""
    about = escape_markdown(about.removeprefix(f"{name}: "))
    lines = [
        f"# Stage {name}",
        "",
        MADE + about,
        "",
        f"- makes: {stage.produces}",
        f"- environment: {stage.env}",
        f"- `hala launch stage={name} --help` prints this page",
        "",
        "A setting with *(runtime)* does not change the result: no value makes a new artifact.",
        "Every stage also has the settings of [resources](resources.md).",
        "",
        "## Settings",
        "",
        *setting_items(stage.Settings, ""),
    ]
    return "\n".join(lines) + "\n"


def setting_items(settings: type[BaseModel], before: str) -> Iterator[str]:
    """A list item for each setting; tables within are followed."""
    texts = field_docs(settings)
    for field, info in settings.model_fields.items():
        inner = info.annotation
        if field == "resources" and inner is Resources:
            continue
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from setting_items(inner, f"{before}{field}.")
            continue
        extra = info.json_schema_extra
        is_runtime = before.startswith("resources") or (
            isinstance(extra, dict) and bool(extra.get("runtime"))
        )
        note = " *(runtime)*" if is_runtime else ""
        yield (
            f"- `{before}{field}`: {type_name(inner, info.metadata)}{bounds_of(info)}, "
            f"{default_of(info)}{note}. {escape_markdown(texts.get(field, ''))}"
        )


def bounds_of(info: Any) -> str:
    """The bounds of a number, as `from 0 to 1`; "" without any."""
    found: dict[str, Any] = {}
    for item in [*info.metadata, *nested_metadata(info.annotation)]:
        for name in ("ge", "gt", "le", "lt"):
            if getattr(item, name, None) is not None:
                found[name] = getattr(item, name)
    parts = [("ge", "from"), ("gt", "above"), ("le", "to"), ("lt", "below")]
    text = " ".join(f"{label} {found[name]}" for name, label in parts if name in found)
    return f" {text}" if text else ""


def nested_metadata(annotation: Any) -> list[Any]:
    """Metadata of an annotated type, also within a union."""
    if get_origin(annotation) is Annotated:
        return list(get_args(annotation)[1:])
    if get_origin(annotation) in (list, dict, tuple):
        return []
    return [item for inner in get_args(annotation) for item in nested_metadata(inner)]


def default_of(info: Any) -> str:
    """The default of a setting, or that it is required."""
    if info.default is PydanticUndefined and info.default_factory is None:
        return "required"
    value = info.get_default(call_default_factory=True)
    if isinstance(value, str):
        text = '"' + value.replace("\\", "\\\\").replace("\n", "\\n") + '"'
    elif value is None:
        text = "none"
    elif isinstance(value, bool):
        text = str(value).lower()
    else:
        text = str(value)
    return f"default `{text}`"


def escape_markdown(text: str) -> str:
    """Protect what Markdown would read as markup: tags, outside of code and of indented lines."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(
        part if part.startswith("`") else part.replace("<", "\\<").replace("*", "\\*")
        for part in parts
    )


def resources_page() -> str:
    """The resources of a node, and what a gate requests."""
    base, gate = Resources().model_dump(), GATE_RESOURCES.model_dump()
    changed = [f"`{name} = {value}`" for name, value in gate.items() if value != base[name]]
    lines = [
        "# Resources",
        "",
        f"{MADE}What one worker of a node gets, in a table `[<node>.resources]` of a recipe, or in",
        "`[resources]`, `[stage.<stage>.resources]` and `[node.<node>.resources]` of a",
        "[launcher](launchers.md), the later ones stronger, and all of them over the recipe.",
        "No resource changes a result. The defaults below are those of most stages; the page of a",
        "dry run shows what each job requests.",
        "",
        "## Settings",
        "",
        *(item.replace("- `", "- `resources.", 1) for item in setting_items(Resources, "")),
        "",
        f"The gate of a node requests {', '.join(changed)}; `[gate]` of a launcher changes that.",
    ]
    return "\n".join(lines) + "\n"


def launcher_page() -> str:
    """The keys of a launcher file, and its options of sbatch."""
    texts = field_docs(Launcher)
    keys = [
        f"- `{name}`: {type_name(info.annotation, info.metadata)}, {default_of(info)}. "
        f"{escape_markdown(texts.get(name, ''))}"
        for name, info in Launcher.model_fields.items()
        if name != "name"
    ]
    lines = [
        "# Launcher files",
        "",
        f"{MADE}A launcher is a TOML file that says where and how jobs run; `launcher=` takes its",
        f"path, or the name of a shipped one: {', '.join(shipped_names('launchers'))}.",
        "Resources under `[resources]`, `[stage.<stage>.resources]`, `[node.<node>.resources]` and",
        "`[gate]` are those of [resources](resources.md).",
        "",
        "## Keys",
        "",
        *keys,
        "",
        "The lines of `setup` run first, in their order, then the variables of `[environment]` are",
        "set; a variable that both set has the value of `[environment]`.",
        "",
        "## Options of sbatch",
        "",
        "`options` in the resources are flags of sbatch with `_` for `-`. An empty value removes a",
        "flag. Ours, in addition:",
        "",
        *(
            f"- `{name}`: {EXTRA_MEANINGS[name]}; its value matches `{pattern}`"
            for name, pattern in EXTRA_OPTIONS.items()
        ),
        "",
        "Passed on as they are: " + ", ".join(f"`{name}`" for name in ALLOWED_OPTIONS) + ".",
        "",
        "Refused, as another setting manages them:",
        "",
        *(f"- `{name}`: {reason}" for name, reason in MANAGED_OPTIONS.items()),
    ]
    return "\n".join(lines) + "\n"
