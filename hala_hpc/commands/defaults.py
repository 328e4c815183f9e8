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

from hala_hpc.core.damage import content_of
from hala_hpc.core.errors import CONFIG, UserError, closest
from hala_hpc.core.paths import is_path, parse_toml

#: In the folder of the command, and in that of a user's settings.
FOLDER_FILE, USER_FILE = ".hala.toml", "hala/defaults.toml"
CURE = "write it anew, or remove it"
#: Keys that hold numbers.
HOURS = ("max_gpu_hours", "budget_gpu_hours")
#: Keys that hold texts.
TEXTS = ("recipe", "launcher", "work")
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
class Choice:
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
    def words(self) -> dict[str, str]:
        """Words of a line that means the same wherever it is given, the work folder left out."""
        hours = {word: f"{value:g}" for word, value in self.hours.items()}
        return {"recipe": self.recipe, "launcher": self.launcher, **hours}

    @property
    def told(self) -> str:
        """The line that a command begins with."""
        named = {"recipe": self.recipe, "launcher": self.launcher, "work": self.work}
        parts = [f"{word} {value}{self.reason(word)}" for word, value in named.items()]
        more = [f"{word} {value:g}{self.reason(word)}" for word, value in self.hours.items()]
        return ", ".join([*parts, *more])

    def reason(self, word: str) -> str:
        """In brackets, why a word has its value; "" where the line says so."""
        return f" ({self.reasons[word]})" if word in self.reasons else ""


def choose(words: Mapping[str, str]) -> Choice:
    """What a line means together with the defaults.

    Raises UserError where the file of defaults is not valid, or another user may have written it.
    """
    found = read_defaults()
    reasons: dict[str, str] = {}
    guessed = set()
    on_cluster = shutil.which("sbatch") is not None
    built_in = ON_CLUSTER if on_cluster else ELSEWHERE
    why = "sbatch is on the PATH" if on_cluster else "no sbatch is on the PATH"

    def taken(word: str) -> str | None:
        if words.get(word):
            return words[word]
        value: str | None = getattr(found, word)
        if value is not None:
            reasons[word] = shown(found.source)
        elif word in built_in:
            value, reasons[word] = built_in[word], why
            guessed.add(word)
        return value

    recipe, launcher = str(taken("recipe")), str(taken("launcher"))
    work = taken("work") or f"runs/{Path(recipe).stem}"
    hours = {word: getattr(found, word) for word in HOURS if word not in words}
    given = {word: value for word, value in hours.items() if value is not None}
    reasons |= dict.fromkeys(given, shown(found.source))
    return Choice(recipe, launcher, work, given, reasons, frozenset(guessed))


def read_defaults() -> Defaults:
    """The file of defaults that counts here; an empty one where there is none.

    Raises UserError naming the file, and what is wrong with it.
    """
    settings = user_folder()
    user_file = [settings / USER_FILE] if settings and settings.is_dir() else []
    for path in (Path(FOLDER_FILE), *user_file):
        data = content_of(path, CURE, must_be_own=True)
        if data is not None:
            return read_table(path, parse_toml(path, data))
    return Defaults()


def user_folder() -> Path | None:
    """Where a user's settings stand; None for a user without a home."""
    named, home = os.environ.get("XDG_CONFIG_HOME", ""), home_folder()
    # A path that is not whole is to be ignored: so says the specification of this variable.
    return Path(named) if Path(named).is_absolute() else home and home / ".config"


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
    values: dict[str, Any] = {key: located(path, key, table[key]) for key in TEXTS if key in table}
    values |= {key: float(table[key]) for key in HOURS if key in table}
    return Defaults(**values, source=path)


def mistakes_in(key: str, value: Any) -> list[str]:
    """What is wrong with one line of a file of defaults; nothing for most."""
    if key not in KEYS:
        return [f"unknown key {key}: {closest(key, list(KEYS), 'keys')}"]
    if key in HOURS:
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
    is_file = key != "work" and is_path(value) and not value.startswith("~")
    return str(path.parent / value) if is_file and path.name != FOLDER_FILE else value


def shown(path: Path | None) -> str:
    """A file as people write it."""
    home = home_folder()
    if path and home and path.is_relative_to(home):
        return f"~/{path.relative_to(home)}"
    return shlex.quote(str(path or ""))
