"""Arguments of the commands, `key=value`: one test for help, one text for what is unknown."""

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
    """What a command does, and what each of its arguments means."""
    width = max(map(len, meanings))
    print(f"{text.strip()}\n")
    print("\n".join(f"  {key:<{width}} {meaning}" for key, meaning in meanings.items()))


def describe_unknown_arguments(
    overrides: Mapping[str, str], meanings: Mapping[str, str]
) -> list[str]:
    """A line for each argument that a command does not have, with the closest one."""
    return [
        f"unknown word {key}={value}: {suggest_name(key, list(meanings), 'words')}"
        for key, value in overrides.items()
        if key not in meanings
    ]


def parse_arguments(
    arguments: Sequence[str], text: str, meanings: Mapping[str, str]
) -> dict[str, str] | None:
    """The arguments by their names; None when help is asked for, which is printed.

    `text` says what the command does, `meanings` what each argument means. Raises UserError with
    every argument that is unknown or badly written.
    """
    if asks_for_help(arguments):
        print_arguments(text, meanings)
        return None
    overrides = parse_overrides(list(arguments))
    if mistakes := describe_unknown_arguments(overrides, meanings):
        raise UserError(mistakes)
    return overrides


def add_default_work(overrides: Mapping[str, str], changes: bool = False) -> dict[str, str]:
    """The arguments with the work folder of a run.

    By default it is the one in which the command is given, else the one that `launch` would take.
    Says on stderr which default was taken. With `changes`, which end or change a run, only a work
    folder of this user around the command or a file of defaults counts: nobody does it by accident.
    Raises UserError as `resolve_defaults`.
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
    """Whether an argument is true; false where it is not given. Raises UserError otherwise."""
    text = overrides.get(key, "false")
    if text.lower() not in ("true", "false", "1", "0", "yes", "no"):
        raise UserError(f"{key}={text}: write true or false")
    return text.lower() in ("true", "1", "yes")


def parse_whole_number(
    overrides: Mapping[str, str], key: str, default: int | None = None
) -> int | None:
    """A whole number from 0; `default` where it is not given. Raises UserError."""
    if key not in overrides:
        return default
    if not overrides[key].isascii() or not overrides[key].isdigit():
        raise UserError(f"{key}={overrides[key]}: write a whole number, 0 or more")
    return int(overrides[key])
