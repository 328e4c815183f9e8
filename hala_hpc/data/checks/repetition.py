"""Whether a translation repeats itself without end."""

import re

from hala_hpc.data.checks.views import Sides

_DIGITS = re.compile(r"\d+")
#: The same few characters ten times in a row.
_STUTTER = re.compile(r"(\S{1,12}?)\1{9,}")
_SIGNS = ".,:;!?\"'()،؛؟…«»“”"
_LONGEST_PHRASE = 60
#: Share of four-word sequences that repeat earlier ones: sentences that are given twice.
_MAX_REPEATED_SHARE = 0.4


def is_repetitive(sides: Sides) -> bool:
    """Whether a translation repeats itself more than its source does.

    The faults are a phrase that follows itself too often, a text with too many repeated sequences,
    and a character without end. A single word may follow itself twice more often than a phrase.
    """
    if _stutters(sides.translation.text) and not _stutters(sides.source.text):
        return True
    ours = _tokens(sides.translation.text)
    if len(ours) > 5 and _is_doubled(ours):
        return not _is_doubled(_tokens(sides.source.text))
    share, max_repeats = repeated_share(ours), sides.settings.max_repeats
    if share == 0 and max_repeats > 1:  # otherwise four words would repeat
        return False
    theirs = _tokens(sides.source.text)
    if share > _MAX_REPEATED_SHARE and share > repeated_share(theirs) + 0.25:
        return True
    repeats = max_consecutive_repeats(ours)
    return repeats > max_repeats and repeats > max_consecutive_repeats(theirs)


def _is_doubled(tokens: list[str]) -> bool:
    half, odd = divmod(len(tokens), 2)
    return not odd and tokens[:half] == tokens[half:]


def _stutters(text: str) -> bool:
    """Whether a word consists of the same few characters again and again."""
    return any(
        _STUTTER.search(token) is not None
        for token in text.split()
        if len(token) >= 10 and (len(token) >= 100 or len(set(token)) * 3 <= len(token))
    )


def repeated_share(tokens: list[str]) -> float:
    """Return the share of four-token sequences that occurred earlier in the text, 0 to 1."""
    rows = list(zip(tokens, tokens[1:], tokens[2:], tokens[3:], strict=False))
    return 1 - len(set(rows)) / len(rows) if len(rows) >= 4 else 0.0


def max_consecutive_repeats(tokens: list[str]) -> int:
    """Return the maximum repeats of a phrase in a row; one word counts two less, two words one."""
    longest = 1
    for size in _sizes(tokens):
        run = best = 0
        for first, second in zip(tokens, tokens[size:], strict=False):
            run = run + 1 if first == second else 0
            best = max(best, run)
        longest = max(longest, best // size + 1 - max(0, 3 - size))
    return longest


def _sizes(tokens: list[str]) -> list[int]:
    """Return the lengths of phrases that may repeat: distances between equal tokens."""
    last: dict[str, int] = {}
    sizes = set()
    for place, token in enumerate(tokens):
        if token in last and place - last[token] <= _LONGEST_PHRASE:
            sizes.add(place - last[token])
        last[token] = place
    return sorted(sizes)


def _tokens(text: str) -> list[str]:
    """Split into lower-case words, every number as 0; into characters if there are no spaces."""
    tokens = [token.strip(_SIGNS) or token for token in _DIGITS.sub("0", text).casefold().split()]
    if tokens and len(text) > 20 * len(tokens):
        return [*tokens, *text] if len(tokens) == 1 else list(text)
    return tokens
