"""Arguments of the commands, `key=value`: one test for help, one text for what is unknown."""

import sys
from collections.abc import Iterable, Mapping, Sequence

from hala_hpc.commands.defaults import choose
from hala_hpc.core.errors import UserError, closest
from hala_hpc.core.overrides import split_words

HELP = ("--help", "-h", "help")


def asks_for_help(arguments: Iterable[str]) -> bool:
    """Whether one of the arguments asks for help."""
    return any(word in HELP for word in arguments)


def print_arguments(text: str, meanings: Mapping[str, str]) -> None:
    """What a command does, and what each of its arguments means."""
    width = max(map(len, meanings))
    print(f"{text.strip()}\n")
    print("\n".join(f"  {word:<{width}} {meaning}" for word, meaning in meanings.items()))


def unknown_words(words: Mapping[str, str], meanings: Mapping[str, str]) -> list[str]:
    """A line for each argument that a command does not have, with the closest one."""
    return [
        f"unknown word {key}={value}: {closest(key, list(meanings), 'words')}"
        for key, value in words.items()
        if key not in meanings
    ]


def read_words(
    arguments: Sequence[str], text: str, meanings: Mapping[str, str]
) -> dict[str, str] | None:
    """The arguments by their names; None when help is asked for, which is printed.

    `text` says what the command does, `meanings` what each argument means. Raises UserError with
    every argument that is unknown or badly written.
    """
    if asks_for_help(arguments):
        print_arguments(text, meanings)
        return None
    words = split_words(list(arguments))
    if mistakes := unknown_words(words, meanings):
        raise UserError(mistakes)
    return words


def named_run(words: Mapping[str, str], changes: bool = False) -> dict[str, str]:
    """The words with the folder of a run, by default that in which `launch` would work here.

    Tells on stderr where it is taken by default. With `changes`, what is done there, only a file of
    defaults counts: nobody ends or changes a run by accident. Raises UserError as `choose`.
    """
    if words.get("work") or words.get("recipe"):
        return dict(words)
    choice = choose(words)
    is_named = "work" in choice.reasons or "recipe" not in choice.guessed
    if changes and not is_named:
        return dict(words)
    why = choice.reason("work") or f" (recipe {choice.recipe}{choice.reason('recipe')})"
    print(f"work {choice.work}{why}", file=sys.stderr, flush=True)
    return {**words, "work": choice.work}


def is_true(words: Mapping[str, str], word: str) -> bool:
    """Whether an argument is true; false where it is not given. Raises UserError otherwise."""
    text = words.get(word, "false")
    if text.lower() not in ("true", "false", "1", "0", "yes", "no"):
        raise UserError(f"{word}={text}: write true or false")
    return text.lower() in ("true", "1", "yes")


def read_number(words: Mapping[str, str], word: str, default: int | None = None) -> int | None:
    """A whole number from 0; `default` where it is not given. Raises UserError."""
    if word not in words:
        return default
    if not words[word].isascii() or not words[word].isdigit():
        raise UserError(f"{word}={words[word]}: write a whole number, 0 or more")
    return int(words[word])
