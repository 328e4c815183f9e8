"""Read a recipe file, and the recipe that it extends.

`extends = "hala"` at the top of a recipe takes over all nodes of that recipe: a shipped name, or a
file relative to this one. A table of the same name changes the settings that it names. Nodes with
equal settings have equal fingerprints, so that both recipes share their results in a work folder.

Nothing here imports pydantic, as completion of names reads recipes, too.
"""

from pathlib import Path
from typing import Any

from hala_hpc.core.errors import CONFIG, UserError
from hala_hpc.core.paths import find_toml, is_toml_path, read_toml

EXTENDS = "extends"
#: End of the name of a stage that is a file.
STAGE_FILE_END = ".py"


def read_recipe(path: Path, parents: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The tables of a recipe, merged over those of the recipe that it extends.

    Raises: UserError (CONFIG) if recipes extend each other, and as `find_toml` and `read_toml`.
    """
    tables = read_toml(path)
    base = tables.pop(EXTENDS, None)
    if base is None:
        return tables
    if not isinstance(base, str) or not base:
        raise UserError(
            f'{path}: {EXTENDS}={base!r}: write the name of a recipe, as {EXTENDS} = "hala"', CONFIG
        )
    found = find_base(path, base).resolve()
    here = (*parents, path.resolve())
    if found in here:
        raise UserError(
            f"{path}: {EXTENDS}={base!r}: recipes must not extend each other; remove it in one",
            CONFIG,
        )
    return merge_tables(resolve_stage_files(read_recipe(found, here), found.parent), tables)


def find_base(path: Path, base: str) -> Path:
    """The file of the recipe that a recipe extends. Raises: UserError if there is none."""
    relative = path.parent / Path(base).expanduser()
    try:
        return find_toml("recipe", str(relative) if is_toml_path(base) else base)
    except UserError as error:
        lines = [f"{path}: {EXTENDS}={base!r}: {line}" for line in error.mistakes]
        raise UserError(lines, error.code) from None


def resolve_stage_files(tables: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The tables with absolute paths of stages that are files, which are relative to `folder`."""
    found = {}
    for name, table in tables.items():
        stage = str(table.get("stage", "")) if isinstance(table, dict) else ""
        is_file = stage.endswith(STAGE_FILE_END)
        absolute = {"stage": str(folder / Path(stage).expanduser())} if is_file else {}
        found[name] = {**table, **absolute} if is_file else table
    return found


def merge_tables(weak: dict[str, Any], strong: dict[str, Any]) -> dict[str, Any]:
    """Merge two tables recursively; `strong` wins."""
    merged = dict(weak)
    for key, value in strong.items():
        old = merged.get(key)
        merged[key] = (
            merge_tables(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
        )
    return merged
