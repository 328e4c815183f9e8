"""The words of the commands about a run that was begun: status, logs, cancel and retry."""

from collections.abc import Mapping, Sequence

from hala_hpc.command import read_bool
from hala_hpc.core.errors import UserError, closest
from hala_hpc.core.words import split_words


def read_words(
    arguments: Sequence[str], text: str, meanings: Mapping[str, str]
) -> dict[str, str] | None:
    """The words of a line by their names; None when it asks for help, which is printed.

    `text` says what the command does, `meanings` what each word means. Raises UserError with
    every word that is unknown or badly written.
    """
    if any(word in ("--help", "-h", "help") for word in arguments):
        width = max(map(len, meanings))
        print(f"{text.strip()}\n")
        print("\n".join(f"  {word:<{width}} {meaning}" for word, meaning in meanings.items()))
        return None
    words = split_words(list(arguments))
    mistakes = [
        f"unknown word {key}={value}: {closest(key, list(meanings), 'words')}"
        for key, value in words.items()
        if key not in meanings
    ]
    if mistakes:
        raise UserError(mistakes)
    return words


def is_true(words: Mapping[str, str], word: str) -> bool:
    """Whether a word says true; false where it is not given. Raises UserError for another value."""
    return read_bool(word, words.get(word, "false"))


def read_number(words: Mapping[str, str], word: str, default: int | None = None) -> int | None:
    """A word that is a whole number from 0; `default` where it is not given. Raises UserError."""
    if word not in words:
        return default
    if not words[word].isascii() or not words[word].isdigit():
        raise UserError(f"{word}={words[word]}: write a whole number, 0 or more")
    return int(words[word])
