"""Parse and validate the command line of `launch`, which `status` and others read as well."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from hala_hpc import __version__
from hala_hpc.commands.arguments import describe_unknown_arguments, is_true
from hala_hpc.commands.defaults import GPU_HOURS_KEYS, ResolvedDefaults, resolve_defaults
from hala_hpc.core.damage import convert_os_error
from hala_hpc.core.errors import CONFIG, OK, RETRY, USAGE, TransientError, UserError
from hala_hpc.core.launcher import Launcher
from hala_hpc.core.node import Node
from hala_hpc.core.overrides import parse_overrides
from hala_hpc.core.paths import expand_path, find_toml, read_toml
from hala_hpc.core.printable import escape_controls
from hala_hpc.core.recipe import build_nodes, select_nodes
from hala_hpc.core.recipe_file import read_recipe
from hala_hpc.core.secret_values import find_secret_names
from hala_hpc.core.stage_registry import look_up_stage

T = TypeVar("T")

#: Arguments of `launch` that are not settings of a node, each with its meaning.
LAUNCH_ARGUMENTS = {
    "stage": "nodes or stages to complete, with the nodes they need; separated by commas; or all",
    "recipe": "name of a shipped recipe, or a TOML file (default: hala with sbatch, else demo)",
    "launcher": "name of a shipped one, or a TOML file (default: slurm with sbatch, else local)",
    "work": "folder of the results (default: runs/<recipe>)",
    "dry_run": "true: print what would be done, and submit nothing",
    "rehearse": "true: the whole pipeline on a few hundred rows and a few steps, before full size",
    "render": "a new folder: write what would be submitted as scripts there, and submit nothing",
    "format": "markdown, with dry_run=true: print the nodes as a page with each estimate (text)",
    "max_gpu_hours": "estimated GPU hours above which confirm=true is needed (the launcher's, 200)",
    "budget_gpu_hours": "GPU hours of the work folder above which nothing is submitted (none)",
    "confirm": "true: submit whatever the estimate of GPU hours is",
}


@dataclass(frozen=True)
class CommandLine:
    """A parsed and validated command line."""

    overrides: dict[str, str]
    """As given, with those that the defaults add."""
    recipe: str
    launcher: Launcher
    work: Path
    nodes: dict[str, Node]
    chosen: list[str]
    dry_run: bool
    confirm: bool = False
    markdown: bool = False
    """Whether a dry run is printed as a Markdown page."""
    render: Path | None = None
    """Folder into which to write what would be submitted, instead of submitting it."""
    rehearse: bool = False
    """Whether the nodes are those of a rehearsal."""

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables of the jobs: those of this shell, overridden by the launcher's."""
        return {**os.environ, **self.launcher.environment}


def parse_command_line(
    arguments: Sequence[str], defaults: ResolvedDefaults | None = None
) -> CommandLine:
    """Parse and validate a complete command line.

    `defaults`: its defaults, if they are resolved already. Raises: one UserError with all mistakes.
    """
    overrides = parse_overrides(list(arguments))
    defaults = defaults or resolve_defaults(overrides)
    overrides = {**overrides, **defaults.overrides}
    settings = {key: value for key, value in overrides.items() if "." in key}
    plain = {key: value for key, value in overrides.items() if "." not in key}
    mistakes = describe_unknown_arguments(plain, LAUNCH_ARGUMENTS)
    if not plain.get("stage"):
        mistakes.append("stage= is missing: name nodes or stages, or write stage=all")
    codes: list[int] = [USAGE] if mistakes else []

    def attempt(read: Callable[[], T]) -> T | None:
        try:
            return read()
        except UserError as error:
            mistakes.extend(error.mistakes)
            codes.append(error.code)
            return None

    recipe_path = attempt(lambda: find_toml("recipe", plain["recipe"]))
    launcher_path = attempt(lambda: find_toml("launcher", plain["launcher"]))
    dry_run = attempt(lambda: is_true(plain, "dry_run"))
    confirm = attempt(lambda: is_true(plain, "confirm"))
    rehearsal = attempt(lambda: is_true(plain, "rehearse"))
    markdown = attempt(lambda: is_markdown(plain, bool(dry_run)))
    hours = attempt(
        lambda: {key: parse_hours(key, plain[key]) for key in GPU_HOURS_KEYS if key in plain}
    )
    render = attempt(lambda: parse_render_folder(plain, bool(dry_run)))
    if recipe_path is None or launcher_path is None:
        raise UserError(mistakes, codes[0] if len(set(codes)) == 1 else USAGE)
    launcher = read_launcher(launcher_path).model_copy(update=hours)
    if render and launcher.backend != "slurm":
        mistakes.append(
            f"render={plain['render']}: launcher {launcher.name} runs locally and submits nothing"
        )
    find = partial(look_up_stage, folder=recipe_path.parent)
    nodes = build_nodes(read_recipe(recipe_path), settings, launcher, find, mistakes)
    if rehearsal:
        from hala_hpc.commands.planning.rehearsal_nodes import make_rehearsal_nodes

        nodes = make_rehearsal_nodes(nodes)
    work = expand_path("work", defaults.work)
    return CommandLine(
        overrides,
        str(recipe_path),
        launcher,
        work.absolute(),
        nodes,
        select_nodes(nodes, plain["stage"]),
        bool(dry_run),
        bool(confirm),
        bool(markdown),
        render,
        bool(rehearsal),
    )


def parse_render_folder(overrides: Mapping[str, str], dry_run: bool) -> Path | None:
    """The folder of `render=`; None without it. Raises: UserError together with dry_run=true."""
    if not overrides.get("render"):
        return None
    if dry_run:
        raise UserError(
            f"render={overrides['render']}: cannot be combined with dry_run=true; omit one of them"
        )
    return expand_path("render", overrides["render"]).absolute()


def is_markdown(overrides: Mapping[str, str], dry_run: bool) -> bool:
    """Whether the dry run is to be printed as Markdown.

    Raises: UserError for another format, or without dry_run=true.
    """
    text = overrides.get("format", "text")
    if text not in ("text", "markdown"):
        raise UserError(f"format={text}: write text or markdown")
    if text == "markdown" and not dry_run:
        raise UserError("format=markdown: only a dry run has a page; add dry_run=true")
    return text == "markdown"


def parse_hours(key: str, text: str) -> float:
    """Parse a number of hours. Raises: UserError that names the argument."""
    try:
        hours = float(text)
    except ValueError:
        hours = -1.0
    if not 0 <= hours < float("inf"):
        raise UserError(f"{key}={text}: write a number of GPU hours, 0 or more")
    return hours


def read_launcher(path: Path) -> Launcher:
    """Read and validate a launcher file. Raises: UserError with every mistake in it."""
    from pydantic import ValidationError

    try:
        found = Launcher.model_validate({"name": path.stem, **read_toml(path)})
    except ValidationError as error:
        raise UserError([describe_wrong_value(path, item) for item in error.errors()]) from None
    wrong = find_secret_names(found.environment, found.setup) or found.find_unexpanded()
    if wrong:
        raise UserError([f"launcher {path}: {line}" for line in wrong], CONFIG)
    return found


def describe_wrong_value(path: Path, item: Mapping[str, Any]) -> str:
    """One line for one mistake that pydantic found.

    Values that may be secret are omitted: those of `environment` and `setup`.
    """
    key = ".".join(map(str, item["loc"]))
    # A mistake of the launcher as a whole has no place, and its value is the whole file.
    may_be_secret = item["loc"][:1] in ((), ("environment",), ("setup",))
    value = "" if may_be_secret else f"={item.get('input')!r}"
    place = f"{key}{value}: " if key else ""
    return f"launcher {path}: {place}{item['msg']}"


def run_command(run: Callable[[Sequence[str]], int], arguments: Sequence[str]) -> int:
    """Run a command and return its exit code; print each mistake of a UserError on one line.

    `--version` alone is handled here, for every command.
    """
    if list(arguments) == ["--version"]:
        run = print_version
    try:
        return run(arguments)
    except UserError as error:
        return print_mistakes(error)
    except TransientError as error:
        print(f"error: {error}; run the same command again to resume", file=sys.stderr)
        return RETRY
    except KeyboardInterrupt:
        print(
            "stopped: finished units are kept; run the same command again to resume",
            file=sys.stderr,
        )
        return RETRY
    except BrokenPipeError:
        sys.stderr.close()
        return OK
    except OSError as error:
        return print_mistakes(convert_os_error(error))


def print_version(_arguments: Sequence[str]) -> int:
    """Print the version of the package."""
    print(f"hala_hpc {__version__}")
    return OK


def print_mistakes(error: UserError) -> int:
    """Print each mistake on a line of its own, control characters escaped; return the exit code."""
    for mistake in error.mistakes:
        print(f"error: {escape_controls(mistake)}", file=sys.stderr)
    return error.code
