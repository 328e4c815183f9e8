"""The text before a message, cut to a number of tokens, for the prompt of that message."""

import re
from collections.abc import Callable, Sequence

from hala_hpc.data.corpus.reader import Row

#: Characters of a token, at most, of which a context is looked for: longer tokens are rare.
MAX_TOKEN_CHARACTERS = 16
#: In the place of what was cut.
_ELLIPSIS = "… "
_WORD_START = re.compile(r"(?<=\s)\S")


def previous_contexts(
    messages: Sequence[Row], limit: int, count: Callable[[str], int]
) -> list[str]:
    """Return for each message the source of those before it, at most `limit` tokens of its end.

    Each message before is its role, a colon and its text; a blank line is between them.
    """
    contexts, before = [], ""
    for message in messages:
        contexts.append(cut_to_last_tokens(before, limit, count))
        turn = f"{message['role']}: {message['content'].strip()}"
        # What is further away is cut for every later message.
        before = f"{before}\n\n{turn}".strip()[-(limit + 1) * MAX_TOKEN_CHARACTERS :]
    return contexts


def cut_to_last_tokens(text: str, limit: int, count: Callable[[str], int]) -> str:
    """Return the last words of a text that have at most `limit` tokens with the ellipsis."""
    if len(text.encode()) <= limit or count(text) <= limit:
        return text
    starts = [found.start() for found in _WORD_START.finditer(text)]
    low, high = 0, len(starts)
    while low < high:
        middle = (low + high) // 2
        if count(_ELLIPSIS + text[starts[middle] :]) <= limit:
            high = middle
        else:
            low = middle + 1
    return _ELLIPSIS + text[starts[low] :] if low < len(starts) else ""
