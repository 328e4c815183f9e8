"""Print `--help` from the settings themselves: names, types, defaults, docstrings."""

import ast
import inspect
import itertools
import textwrap
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from hala_hpc.commands.command_line import LAUNCH_ARGUMENTS
from hala_hpc.core.foreign_stages import find_stage_entry_points
from hala_hpc.core.paths import find_toml, shipped_names
from hala_hpc.core.recipe import inherit_table, read_stage_name
from hala_hpc.core.recipe_file import read_recipe
from hala_hpc.core.settings import Reference
from hala_hpc.core.stage import Stage
from hala_hpc.core.stage_registry import STAGE_FILE_SUFFIX, find_stage, look_up_stage, stage_names

EXAMPLES = """\
examples:
  python -m hala_hpc.launch stage=all recipe=demo launcher=local
  python -m hala_hpc.launch stage=translate recipe=hala launcher=slurm work=/scratch/me dry_run=true
  python -m hala_hpc.launch stage=translate --help
  python -m hala_hpc.doctor launcher=slurm work=/scratch/me
  python -m hala_hpc.status work=/scratch/me
  python -m hala_hpc.logs work=/scratch/me
  python -m hala_hpc.cancel work=/scratch/me dry_run=true
  python -m hala_hpc.retry work=/scratch/me dry_run=true"""


def print_help(arguments: Sequence[str]) -> None:
    """Print general help, or with `stage=<stage or node>` the settings of that stage."""
    overrides = [argument.partition("=") for argument in arguments]
    stages = [value for key, _, value in overrides if key == "stage"]
    names = [name for value in stages for name in value.split(",") if name and name != "all"]
    if not names:
        print_general()
    recipe = next((value for key, _, value in overrides if key == "recipe"), "")
    for name in names:
        print_stage(name, resolve_stage(name, recipe))


def resolve_stage(name: str, recipe: str) -> type[Stage[Any]]:
    """Find the stage that a name refers to: that of a node or file of the recipe, else any stage.

    Without a recipe a file is relative to the current folder.
    """
    if not recipe:
        return look_up_stage(name, Path()).stage
    path = find_toml("recipe", recipe)
    tables = {name: table for name, table in read_recipe(path).items() if isinstance(table, dict)}
    stage_names_by_node = {
        node: read_stage_name(inherit_table(tables, node), node) for node in tables
    }
    if name in stage_names_by_node:
        return look_up_stage(stage_names_by_node[name], path.parent).stage
    files = {
        stage_name
        for stage_name in stage_names_by_node.values()
        if stage_name.endswith(STAGE_FILE_SUFFIX)
    }
    stages = [look_up_stage(stage_name, path.parent).stage for stage_name in sorted(files)]
    own = [stage for stage in stages if stage.name == name]
    return own[0] if own else look_up_stage(name, path.parent).stage


def print_general() -> None:
    """Print arguments, stages, recipes and launchers."""
    print("python -m hala_hpc.launch stage=... [key=value ...]\n\narguments:")
    width = max(map(len, LAUNCH_ARGUMENTS))
    for key, meaning in LAUNCH_ARGUMENTS.items():
        print(f"  {key:<{width}} {meaning}")
    print("  node.setting=value   a setting of a node, or of all nodes of a stage\n\nstages:")
    for name in stage_names():
        module = inspect.getmodule(find_stage(name))
        print(f"  {name:<9} {first_line(module.__doc__ if module else '')}")
    if offered := find_stage_entry_points():
        print(f"\nstages of installed packages: {', '.join(sorted(offered))}")
    print(f"\nrecipes:   {', '.join(shipped_names('recipes'))}")
    print(f"launchers: {', '.join(shipped_names('launchers'))}\n\n{EXAMPLES}")


def print_stage(name: str, stage: type[Stage[Any]]) -> None:
    """Print what a stage does and all its settings."""
    module = inspect.getmodule(stage)
    print(
        f"{(module.__doc__ or '').strip() if module else name}\n\n"
        f"makes: {stage.produces}; environment: {stage.env}\n\nsettings of {name}:"
    )
    print_fields(stage.Settings, "")


def print_fields(settings: type[BaseModel], prefix: str) -> None:
    """Print a paragraph for each field; fields of nested settings have a dotted name."""
    texts = field_docs(settings)
    # Resources come last: they are the same for every stage.
    fields = sorted(settings.model_fields.items(), key=lambda item: item[0] == "resources")
    for field, info in fields:
        inner = info.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            print_fields(inner, f"{prefix}{field}.")
            continue
        default = (
            ""
            if info.default is PydanticUndefined and info.default_factory is None
            else (f" = {info.get_default(call_default_factory=True)!r}")
        )
        extra = info.json_schema_extra
        note = (
            "  [does not change the result]"
            if (
                prefix.startswith("resources") or (isinstance(extra, dict) and extra.get("runtime"))
            )
            else ""
        )
        type_text = type_name(inner, info.metadata)
        print(f"  {prefix}{field}: {type_text}{default}{note}")
        for line in textwrap.wrap(texts.get(field, ""), 88):
            print(f"      {line}")


def type_name(annotation: Any, metadata: Sequence[Any] = ()) -> str:  # noqa: PLR0911
    """Format a type for readers of the help."""
    kinds = [kind for item in metadata if isinstance(item, Reference) for kind in item.kinds]
    if kinds:
        return " or ".join(kinds)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_name(arguments[0], arguments[1:])
    if origin is Literal:
        return "|".join(map(str, arguments))
    if origin is dict:
        return f"table of {type_name(arguments[1])}"
    if origin in (list, tuple):
        return f"list of {type_name(arguments[0])}"
    if arguments:
        return " or ".join(type_name(item) for item in arguments)
    if annotation is types.NoneType:
        return "none"
    return getattr(annotation, "__name__", str(annotation))


def field_docs(settings: type[BaseModel]) -> dict[str, str]:
    """Collect the docstring under each field, from the source of the class and its bases.

    Read here and not by pydantic, so that only `--help` spends time on it.
    """
    found: dict[str, str] = {}
    for base in reversed(settings.__mro__):
        if not issubclass(base, BaseModel) or base in (BaseModel, object):
            continue
        tree = ast.parse(textwrap.dedent(inspect.getsource(base)))
        body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
        for field, text in itertools.pairwise(body):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(text, ast.Expr)
                and isinstance(text.value, ast.Constant)
            ):
                found[field.target.id] = " ".join(str(text.value.value).split())
    return found


def first_line(text: str | None) -> str:
    """The first line of a docstring."""
    return (text or "").strip().splitlines()[0] if text else ""
