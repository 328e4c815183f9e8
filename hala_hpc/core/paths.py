"""Where recipes, launchers and environments are, in a clone and in an installed wheel."""

import os
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from hala_hpc.core.builds import DEVICES, find_torch_build
from hala_hpc.core.damage import convert_os_error
from hala_hpc.core.errors import CONFIG, NO_INPUT, UserError, suggest_name
from hala_hpc.core.secret_values import secret_mistakes

PACKAGE = Path(__file__).resolve().parent.parent
ROOT = PACKAGE.parent


def shipped_folder(name: str) -> Path:
    """`recipes`, `launchers` or `slurm`: inside the package, or beside it in a clone."""
    inside = PACKAGE / name
    return inside if inside.is_dir() else ROOT / name


def shipped_names(folder: str) -> list[str]:
    """Names of the TOML files that come with the project, as `hala` or `questions/culture`."""
    place = shipped_folder(folder)
    found = (path.relative_to(place).with_suffix("") for path in place.rglob("*.toml"))
    return sorted(path.as_posix() for path in found)


def expand_path(key: str, text: str) -> Path:
    """Expand `~` in the path of an override or setting; the path need not exist.

    Raises: UserError naming the key if the path cannot be examined.
    """
    try:
        path = Path(text).expanduser()
        path.exists()
    except RuntimeError:
        raise UserError(
            f"{key}={text}: there is no such user here; write the whole path", NO_INPUT
        ) from None
    except OSError as error:
        mistake = convert_os_error(error)
        raise UserError([f"{key}: {line}" for line in mistake.mistakes], mistake.code) from None
    return path


def find_toml(key: str, value: str) -> Path:
    """The file of `recipe=demo` (a shipped name) or `recipe=my/own.toml` (a path)."""
    folder = f"{key}s"
    if is_toml_path(value):
        path = expand_path(key, value)
        if not path.is_file():
            raise UserError(
                f"{key}={value}: no such file; name a file or one of: "
                f"{', '.join(shipped_names(folder))}",
                NO_INPUT,
            )
        return path
    path = expand_path(key, str(shipped_folder(folder) / f"{value}.toml"))
    if not path.is_file():
        hint = suggest_name(value, shipped_names(folder), folder)
        raise UserError(f"unknown {key} {value!r}: {hint} (a file of your own ends in .toml)")
    return path


def is_toml_path(value: str) -> bool:
    """Whether a recipe or launcher is given by a path, not by the name of a shipped one."""
    if value.endswith(".toml"):
        return True
    # Those of a folder, such as questions/culture, are recipes that come with the project.
    return os.sep in value and value not in shipped_names("recipes")


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises: UserError naming file and line if it is not valid or holds secrets.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}", NO_INPUT) from None
    return parse_toml(path, data)


def parse_toml(path: Path, data: bytes) -> dict[str, Any]:
    """Parse the content of a TOML file; raises UserError as `read_toml`."""
    try:
        found = tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid TOML: {error}", CONFIG) from None
    if secrets := secret_mistakes(found):
        raise UserError([f"{path}: {line}" for line in secrets], CONFIG)
    return found


@cache
def environment_python(env: str, device: str = "") -> Path:
    """Interpreter of an environment: `.venv` and `.venv-<env>` are side by side.

    `main` is the running one unless that belongs to another environment. With `device`, cpu or
    cuda, an environment of that build: a second build has it as a suffix, as in `.venv-cuda` and
    `.venv-quantize-cuda`. If there is none, the one beside the running environment.
    """
    here = Path(sys.prefix)
    base, own_end = split_name(here.name)
    name = base if env == "main" else f"{base}-{env}"

    def python_in(end: str) -> Path:
        if here.name == name + end:
            return Path(sys.executable)
        return here.with_name(name + end) / "bin" / "python"

    beside = python_in(own_end)
    if device:
        for path in (beside, python_in(""), python_in(f"-{device}")):
            build = find_torch_build(str(path))
            if build is not None and build.device == device:
                return path
    return beside


def split_name(name: str) -> tuple[str, str]:
    """Split the folder name of an environment: its base name, and its suffix, e.g. `-cuda`."""
    for device in DEVICES:
        if name.endswith(f"-{device}"):
            return name.removesuffix(f"-{device}").split("-quantize")[0], f"-{device}"
    return name.split("-quantize", maxsplit=1)[0], ""


def is_within(path: Path, folder: Path) -> bool:
    """Whether a path is a folder or is in it."""
    return path == folder or folder in path.parents
