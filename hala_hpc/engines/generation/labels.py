"""A choice between a few words: the probability of each, at the price of one token.

The model is not left to write its choice: the probabilities of the tokens that each choice begins
with are read from the step that reads the prompt, and divided by their sum. That is what
constrained decoding would draw from, without a grammar to compile or a mask to apply.

A model may write a word in several ways, "accept", "Accept" or " accept", and its probability is
spread over them ("surface form competition", Holtzman et al. 2021, arXiv 2104.08315): every way
that is a single token for all of the choices counts.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import exp, inf
from typing import Any

from hala_hpc.core.errors import CONFIG, UserError

#: Tokens that vLLM 0.32 returns at most.
MAX_TOKENS = 128
#: Ways to write a choice: as given, with a capital, and both after a space.
WAYS = 4


def normalize_logprobs(logprobs: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """Share of each group of log-probabilities; equal shares where all are minus infinity."""
    highest = max(value for ways in logprobs for value in ways)
    if highest == -inf:
        return tuple(1 / len(logprobs) for _ in logprobs)
    weights = [sum(exp(value - highest) for value in ways) for ways in logprobs]
    total = sum(weights)
    return tuple(weight / total for weight in weights)


@lru_cache(maxsize=64)
def label_tokens(tokenizer: Any, labels: tuple[str, ...]) -> tuple[tuple[int, ...], ...]:
    """The tokens that stand for each choice: its first one, then those of other ways to write it.

    Raises UserError (78) for a choice without tokens, for choices that one token cannot tell
    apart, and for too many of them.
    """
    written = [_ids_of(tokenizer, label) for label in labels]
    # A way to write that is one token for some choices only would favour those.
    whole = [way for way in range(1, WAYS) if all(len(ways[way]) == 1 for ways in written)]
    tokens = tuple(tuple(dict.fromkeys(ways[w][0] for w in [0, *whole])) for ways in written)
    for number, ways in enumerate(tokens):
        for earlier in range(number):
            if set(ways) & set(tokens[earlier]):
                _raise_ambiguous(tokenizer, labels[earlier], labels[number])
    if sum(map(len, tokens)) > MAX_TOKENS:
        raise UserError(
            f"choices: {len(labels)} are too many; at most {MAX_TOKENS // WAYS}", CONFIG
        )
    return tokens


def _ids_of(tokenizer: Any, label: str) -> list[list[int]]:
    """The tokens of a choice as it is given, then in other ways to write it."""
    word = label.strip()
    written = [label, word.capitalize(), f" {word}", f" {word.capitalize()}"]
    ids: list[list[int]] = tokenizer(written, add_special_tokens=False)["input_ids"]
    if not word or not ids[0]:
        raise UserError(f"choice {label!r} has no tokens; give it a word", CONFIG)
    return ids


def _raise_ambiguous(tokenizer: Any, one: str, other: str) -> None:
    """Raise UserError (78): two choices begin alike."""
    name = getattr(tokenizer, "name_or_path", "") or "the model"
    raise UserError(
        f"choices {one!r} and {other!r} begin with the same token in the tokenizer of {name}, so "
        "one token cannot tell them apart; take words that begin differently",
        CONFIG,
    )
