"""Parse the `key=value` arguments of the commands."""

import sys
from collections.abc import Iterable, Mapping, Sequence

from hala_hpc.commands.command_names import HELP
from hala_hpc.commands.defaults import resolve_defaults
from hala_hpc.commands.enclosing_run import find_enclosing_run
from hala_hpc.core.errors import UserError, suggest_name
from hala_hpc.core.overrides import parse_overrides


def asks_for_help(arguments: Iterable[str]) -> bool:
    """Whether one of the arguments asks for help."""
    return any(argument in HELP for argument in arguments)


def print_arguments(text: str, meanings: Mapping[str, str]) -> None:
    """Print what a command does, and what each of its arguments means."""
    width = max(map(len, meanings))
    print(f"{text.strip()}\n")
    print("\n".join(f"  {key:<{width}} {meaning}" for key, meaning in meanings.items()))


def describe_unknown_arguments(
    overrides: Mapping[str, str], meanings: Mapping[str, str]
) -> list[str]:
    """Describe each argument that a command does not have, with the closest known one."""
    return [
        f"unknown argument {key}={value}: {suggest_name(key, list(meanings), 'arguments')}"
        for key, value in overrides.items()
        if key not in meanings
    ]


def parse_arguments(
    arguments: Sequence[str], text: str, meanings: Mapping[str, str]
) -> dict[str, str] | None:
    """Parse the arguments; None if help is asked for, which is printed.

    `text` describes the command, `meanings` each argument. Raises: UserError with every argument
    that is unknown or malformed.
    """
    if asks_for_help(arguments):
        print_arguments(text, meanings)
        return None
    overrides = parse_overrides(list(arguments))
    if mistakes := describe_unknown_arguments(overrides, meanings):
        raise UserError(mistakes)
    return overrides


def add_default_work(overrides: Mapping[str, str], changes: bool = False) -> dict[str, str]:
    """Add the work folder of a run: the one around the current folder, else that of `launch`.

    A default work folder is printed on stderr. With `changes`, for commands that change a run, only
    a work folder of this user around the command or a file of defaults counts, so that no run is
    ended or changed by accident.

    Raises: UserError as `resolve_defaults`.
    """
    if overrides.get("work") or overrides.get("recipe"):
        return dict(overrides)
    if run := find_enclosing_run():
        if changes:
            run.require_own()
        print(run.message, file=sys.stderr, flush=True)
        return {**overrides, "work": str(run.work)}
    defaults = resolve_defaults(overrides)
    is_named = "work" in defaults.reasons or "recipe" not in defaults.guessed
    if changes and not is_named:
        return dict(overrides)
    reason = (
        defaults.format_reason("work")
        or f" (recipe {defaults.recipe}{defaults.format_reason('recipe')})"
    )
    print(f"work {defaults.work}{reason}", file=sys.stderr, flush=True)
    return {**overrides, "work": defaults.work}


def is_true(overrides: Mapping[str, str], key: str) -> bool:
    """Whether an argument is true; false if it is missing. Raises: UserError for other values."""
    text = overrides.get(key, "false")
    if text.lower() not in ("true", "false", "1", "0", "yes", "no"):
        raise UserError(f"{key}={text}: write true or false")
    return text.lower() in ("true", "1", "yes")


def parse_whole_number(
    overrides: Mapping[str, str], key: str, default: int | None = None
) -> int | None:
    """Parse a whole number from 0; `default` if it is missing. Raises: UserError."""
    if key not in overrides:
        return default
    if not overrides[key].isascii() or not overrides[key].isdigit():
        raise UserError(f"{key}={overrides[key]}: write a whole number, 0 or more")
    return int(overrides[key])
