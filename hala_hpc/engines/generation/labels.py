"""Probability of each of a few labels as the answer, at the price of one token.

The model does not write the label. The probabilities of the first token of each label are read
from the step that reads the prompt, and divided by their sum. Constrained decoding would draw from
the same distribution, but needs a grammar to compile or a mask to apply.

A model may write a word in several ways: "accept", "Accept" or " accept". Its probability is spread
over them ("surface form competition", Holtzman et al. 2021, arXiv 2104.08315). Every way that is a
single token for all labels counts.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import exp, inf
from typing import Any

from hala_hpc.core.errors import CONFIG, UserError

#: Maximum number of tokens whose log-probabilities vLLM 0.32 returns.
MAX_TOKENS = 128
#: Ways to write a label: as given, with a capital, and both after a space.
WAYS = 4


def normalize_logprobs(logprobs: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """Convert groups of log-probabilities to probabilities; equal if all are minus infinity."""
    highest = max(value for ways in logprobs for value in ways)
    if highest == -inf:
        return tuple(1 / len(logprobs) for _ in logprobs)
    weights = [sum(exp(value - highest) for value in ways) for ways in logprobs]
    total = sum(weights)
    return tuple(weight / total for weight in weights)


@lru_cache(maxsize=64)
def label_tokens(tokenizer: Any, labels: tuple[str, ...]) -> tuple[tuple[int, ...], ...]:
    """The tokens that count for each label: its first one, then those of other ways to write it.

    Raises: UserError (CONFIG) if a label has no tokens, if two labels begin with the same token, or
    if there are too many labels.
    """
    written = [_ids_of(tokenizer, label) for label in labels]
    # A way to write that is one token for some labels only would favour these.
    whole = [way for way in range(1, WAYS) if all(len(ways[way]) == 1 for ways in written)]
    tokens = tuple(tuple(dict.fromkeys(ways[w][0] for w in [0, *whole])) for ways in written)
    for number, ways in enumerate(tokens):
        for earlier in range(number):
            if set(ways) & set(tokens[earlier]):
                _raise_ambiguous(tokenizer, labels[earlier], labels[number])
    if sum(map(len, tokens)) > MAX_TOKENS:
        raise UserError(
            f"labels: {len(labels)} are too many; use at most {MAX_TOKENS // WAYS}", CONFIG
        )
    return tokens


def _ids_of(tokenizer: Any, label: str) -> list[list[int]]:
    """Token ids of a label as given, then of the other ways to write it."""
    word = label.strip()
    written = [label, word.capitalize(), f" {word}", f" {word.capitalize()}"]
    ids: list[list[int]] = tokenizer(written, add_special_tokens=False)["input_ids"]
    if not word or not ids[0]:
        raise UserError(f"label {label!r}: it has no tokens; use a word", CONFIG)
    return ids


def _raise_ambiguous(tokenizer: Any, one: str, other: str) -> None:
    """Raise UserError (CONFIG): two labels begin with the same token."""
    name = getattr(tokenizer, "name_or_path", "") or "the model"
    raise UserError(
        f"labels {one!r} and {other!r}: they begin with the same token in the tokenizer of {name}, "
        "so one token cannot distinguish them; use words that begin differently",
        CONFIG,
    )
