"""What a command takes where its line does not say: recipe, launcher, work folder, GPU hours.

A lab's own defaults stand in `.hala.toml` in the folder of the command, else in
`~/.config/hala/defaults.toml` (XDG_CONFIG_HOME is heeded): as if their words stood in the line,
which is stronger. What nobody names follows from `sbatch`: with it on the PATH this is a login
node, which submits the paper's recipe; elsewhere the demo runs here.

The standard library alone: env/setup reads them before there is an environment.
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

#: In the folder of the command, and in that of a user's settings.
FOLDER_FILE, USER_FILE = ".hala.toml", "hala/defaults.toml"
DEFAULTS_FILE_FIX = "write it anew, or remove it"
#: Keys that hold numbers.
GPU_HOURS_KEYS = ("max_gpu_hours", "budget_gpu_hours")
#: Keys that hold texts.
TEXT_KEYS = ("recipe", "launcher", "work")
ON_CLUSTER = {"recipe": "hala", "launcher": "slurm"}
ELSEWHERE = {"recipe": "demo", "launcher": "local"}


@dataclass(frozen=True)
class Defaults:
    """A file of defaults; None for what it does not name."""

    recipe: str | None = None
    launcher: str | None = None
    work: str | None = None
    max_gpu_hours: float | None = None
    budget_gpu_hours: float | None = None
    source: Path | None = None
    """The file; None where there is none."""


KEYS = tuple(field.name for field in fields(Defaults) if field.name != "source")


@dataclass(frozen=True)
class ResolvedDefaults:
    """What a command works with, and who chose it."""

    recipe: str
    launcher: str
    work: str
    hours: Mapping[str, float]
    """Of the file of defaults, by their words."""
    reasons: Mapping[str, str]
    """Why, for what the line does not name."""
    guessed: frozenset[str]
    """Words that nobody named: they follow from what this machine has."""

    @property
    def overrides(self) -> dict[str, str]:
        """Words of a line that means the same wherever it is given, the work folder left out."""
        hours = {key: f"{value:g}" for key, value in self.hours.items()}
        return {"recipe": self.recipe, "launcher": self.launcher, **hours}

    @property
    def message(self) -> str:
        """The line that a command begins with."""
        values = {"recipe": self.recipe, "launcher": self.launcher, "work": self.work}
        parts = [f"{key} {value}{self.format_reason(key)}" for key, value in values.items()]
        more = [f"{key} {value:g}{self.format_reason(key)}" for key, value in self.hours.items()]
        return ", ".join([*parts, *more])

    def format_reason(self, key: str) -> str:
        """In brackets, why a word has its value; "" where the line says so."""
        return f" ({self.reasons[key]})" if key in self.reasons else ""


def resolve_defaults(overrides: Mapping[str, str]) -> ResolvedDefaults:
    """What a line means together with the defaults.

    Raises UserError where the file of defaults is not valid, or another user may have written it.
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
    """The file of defaults that counts here; an empty one where there is none.

    Raises UserError naming the file, and what is wrong with it.
    """
    settings = user_folder()
    user_file = [settings / USER_FILE] if settings and settings.is_dir() else []
    for path in (Path(FOLDER_FILE), *user_file):
        data = read_content(path, DEFAULTS_FILE_FIX, must_be_own=True)
        if data is not None:
            return read_table(path, parse_toml(path, data))
    return Defaults()


def user_folder() -> Path | None:
    """Where a user's settings stand; None for a user without a home."""
    config_home, home = os.environ.get("XDG_CONFIG_HOME", ""), home_folder()
    # A path that is not whole is to be ignored: so says the specification of this variable.
    return Path(config_home) if Path(config_home).is_absolute() else home and home / ".config"


def home_folder() -> Path | None:
    """The home of this user; None where none is known, as in some containers."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def read_table(path: Path, table: Mapping[str, Any]) -> Defaults:
    """The defaults of a file; raises UserError with everything that is wrong in it."""
    mistakes = [mistake for key, value in table.items() for mistake in mistakes_in(key, value)]
    if mistakes:
        raise UserError([f"{path}: {text}" for text in mistakes], CONFIG)
    values: dict[str, Any] = {
        key: located(path, key, table[key]) for key in TEXT_KEYS if key in table
    }
    values |= {key: float(table[key]) for key in GPU_HOURS_KEYS if key in table}
    return Defaults(**values, source=path)


def mistakes_in(key: str, value: Any) -> list[str]:
    """What is wrong with one line of a file of defaults; nothing for most."""
    if key not in KEYS:
        return [f"unknown key {key}: {suggest_name(key, list(KEYS), 'keys')}"]
    if key in GPU_HOURS_KEYS:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number and 0 <= value < float("inf"):
            return []
        return [f"{key}={value!r}: write a number of GPU hours, 0 or more"]
    if isinstance(value, str) and value:
        return []
    return [f'{key}={value!r}: write a text in quotes, as {key} = "..."']


def located(path: Path, key: str, value: str) -> str:
    """A value so that the command finds what it names: files stand beside those that name them.

    A work folder is meant as on the line: from the folder of the command.
    """
    is_file = key != "work" and is_toml_path(value) and not value.startswith("~")
    return str(path.parent / value) if is_file and path.name != FOLDER_FILE else value


def format_home_path(path: Path | None) -> str:
    """A file as people write it."""
    home = home_folder()
    if path and home and path.is_relative_to(home):
        return f"~/{path.relative_to(home)}"
    return shlex.quote(str(path or ""))
