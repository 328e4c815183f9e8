"""Defaults of recipe, launcher, work folder and GPU hours where the command line omits them.

A lab's own defaults are in `.hala.toml` in the folder of the command, else in
`~/.config/hala/defaults.toml` (XDG_CONFIG_HOME is respected). They count as if given on the command
line, which takes precedence. What is named nowhere follows from `sbatch`. With it on the PATH this
is a login node, which submits the paper's recipe; elsewhere the demo runs locally.

The standard library alone: env/setup reads the defaults before there is an environment.
"""

import os
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from hala_hpc.core.damage import read_content
from hala_hpc.core.errors import CONFIG, UserError, suggest_name
from hala_hpc.core.paths import is_toml_path, parse_toml

#: Name in the folder of the command, and in the user's configuration folder.
FOLDER_FILE, USER_FILE = ".hala.toml", "hala/defaults.toml"
DEFAULTS_FILE_FIX = "correct it, or remove it"
#: Keys with numbers.
GPU_HOURS_KEYS = ("max_gpu_hours", "budget_gpu_hours")
#: Keys with strings.
TEXT_KEYS = ("recipe", "launcher", "work")
ON_CLUSTER = {"recipe": "hala", "launcher": "slurm"}
ELSEWHERE = {"recipe": "demo", "launcher": "local"}


@dataclass(frozen=True)
class Defaults:
    """Contents of a file of defaults; None for keys that it does not name."""

    recipe: str | None = None
    launcher: str | None = None
    work: str | None = None
    max_gpu_hours: float | None = None
    budget_gpu_hours: float | None = None
    source: Path | None = None
    """The file; None if there is none."""


KEYS = tuple(field.name for field in fields(Defaults) if field.name != "source")


@dataclass(frozen=True)
class ResolvedDefaults:
    """Recipe, launcher, work folder and limits of a command, and the source of each."""

    recipe: str
    launcher: str
    work: str
    hours: Mapping[str, float]
    """Limits of GPU hours from the file of defaults, by argument."""
    reasons: Mapping[str, str]
    """For each argument that the command line omits, why it has its value."""
    guessed: frozenset[str]
    """Arguments named nowhere: they follow from whether sbatch is on the PATH."""

    @property
    def overrides(self) -> dict[str, str]:
        """Overrides of an equivalent command line without defaults; the work folder is omitted."""
        hours = {key: f"{value:g}" for key, value in self.hours.items()}
        return {"recipe": self.recipe, "launcher": self.launcher, **hours}

    @property
    def message(self) -> str:
        """The first line that a command prints."""
        values = {"recipe": self.recipe, "launcher": self.launcher, "work": self.work}
        parts = [f"{key} {value}{self.format_reason(key)}" for key, value in values.items()]
        more = [f"{key} {value:g}{self.format_reason(key)}" for key, value in self.hours.items()]
        return ", ".join([*parts, *more])

    def format_reason(self, key: str) -> str:
        """Why an argument has its value, in brackets; "" if the command line names it."""
        return f" ({self.reasons[key]})" if key in self.reasons else ""


def resolve_defaults(overrides: Mapping[str, str]) -> ResolvedDefaults:
    """Combine the overrides of a command line with the defaults.

    Raises: UserError if the file of defaults is invalid, or another user could have written it.
    """
    found = read_defaults()
    reasons: dict[str, str] = {}
    guessed = set()
    on_cluster = shutil.which("sbatch") is not None
    built_in = ON_CLUSTER if on_cluster else ELSEWHERE
    reason = "sbatch is on the PATH" if on_cluster else "no sbatch is on the PATH"

    def resolve(key: str) -> str | None:
        if overrides.get(key):
            return overrides[key]
        value: str | None = getattr(found, key)
        if value is not None:
            reasons[key] = format_home_path(found.source)
        elif key in built_in:
            value, reasons[key] = built_in[key], reason
            guessed.add(key)
        return value

    recipe, launcher = str(resolve("recipe")), str(resolve("launcher"))
    work = resolve("work") or f"runs/{Path(recipe).stem}"
    hours = {key: getattr(found, key) for key in GPU_HOURS_KEYS if key not in overrides}
    given = {key: value for key, value in hours.items() if value is not None}
    reasons |= dict.fromkeys(given, format_home_path(found.source))
    return ResolvedDefaults(recipe, launcher, work, given, reasons, frozenset(guessed))


def read_defaults() -> Defaults:
    """Read the file of defaults that applies here; empty defaults if there is none.

    Raises: UserError naming the file and what is wrong with it.
    """
    settings = user_folder()
    user_file = [settings / USER_FILE] if settings and settings.is_dir() else []
    for path in (Path(FOLDER_FILE), *user_file):
        data = read_content(path, DEFAULTS_FILE_FIX, must_be_own=True)
        if data is not None:
            return read_table(path, parse_toml(path, data))
    return Defaults()


def user_folder() -> Path | None:
    """The user's configuration folder; None for a user without a home directory."""
    config_home, home = os.environ.get("XDG_CONFIG_HOME", ""), home_folder()
    # The XDG base directory specification: ignore XDG_CONFIG_HOME if it is not an absolute path.
    return Path(config_home) if Path(config_home).is_absolute() else home and home / ".config"


def home_folder() -> Path | None:
    """The home directory of this user; None if unknown, as in some containers."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def read_table(path: Path, table: Mapping[str, Any]) -> Defaults:
    """Validate a file of defaults. Raises: UserError with every mistake in it."""
    mistakes = [mistake for key, value in table.items() for mistake in mistakes_in(key, value)]
    if mistakes:
        raise UserError([f"{path}: {text}" for text in mistakes], CONFIG)
    values: dict[str, Any] = {
        key: located(path, key, table[key]) for key in TEXT_KEYS if key in table
    }
    values |= {key: float(table[key]) for key in GPU_HOURS_KEYS if key in table}
    return Defaults(**values, source=path)


def mistakes_in(key: str, value: Any) -> list[str]:
    """The mistakes in one entry of a file of defaults; usually none."""
    if key not in KEYS:
        return [f"unknown key {key}: {suggest_name(key, list(KEYS), 'keys')}"]
    if key in GPU_HOURS_KEYS:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number and 0 <= value < float("inf"):
            return []
        return [f"{key}={value!r}: write a number of GPU hours, 0 or more"]
    if isinstance(value, str) and value:
        return []
    return [f'{key}={value!r}: write a string in quotes, as {key} = "..."']


def located(path: Path, key: str, value: str) -> str:
    """Resolve a file relative to the file of defaults that names it.

    A work folder is relative to the folder of the command, as on the command line.
    """
    is_file = key != "work" and is_toml_path(value) and not value.startswith("~")
    return str(path.parent / value) if is_file and path.name != FOLDER_FILE else value


def format_home_path(path: Path | None) -> str:
    """A path as a user would write it, with ~ for the home directory."""
    home = home_folder()
    if path and home and path.is_relative_to(home):
        return f"~/{path.relative_to(home)}"
    return shlex.quote(str(path or ""))
