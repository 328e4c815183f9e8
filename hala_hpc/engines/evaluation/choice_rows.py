"""Which rows a model must read to score the choices of questions, and where in each row.

A choice of tokens c1 ... cn after a question q needs the logits of q, q c1, ..., q c1 ... cn-1. One
row q c1 ... cn-1 has all of them, and those of every other choice that begins so.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

#: A pass scores all choices of a question: they have all tokens but the last in common.
ONE_PASS = "one-pass"  # noqa: S105
#: Choices that begin alike share a pass.
SHARED_PREFIX = "shared-prefix"
#: Each choice has a pass of its own.
PASS_EACH = "a-pass-each"  # noqa: S105

Tokens = tuple[int, ...]


@dataclass(frozen=True)
class ScoredChoice:
    """A choice to be scored in a row."""

    request: int
    """Index of the request."""
    start: int
    """Position in the row whose logits predict the first token of the choice."""
    tokens: Tokens


@dataclass(frozen=True)
class ChoiceRow:
    """Tokens that the model reads in one row of a batch."""

    tokens: Tokens
    choices: list[ScoredChoice] = field(default_factory=list)


@dataclass(frozen=True)
class ChoiceRequest:
    """A question and one of its choices, in tokens."""

    index: int
    context: Tokens
    choice: Tokens


def plan_rows(requests: Iterable[ChoiceRequest], max_length: int) -> list[ChoiceRow]:
    """The fewest rows that score all requests, longest first.

    `max_length`: tokens of the model's context. A question that is too long loses its first tokens,
    each choice by itself, as in lm-eval.
    """
    by_context: dict[Tokens, list[ChoiceRequest]] = defaultdict(list)
    for request in requests:
        by_context[request.context].append(request)
    rows: list[ChoiceRow] = []
    for context, asked in by_context.items():
        longest = max(len(request.choice) for request in asked)
        if len(context) + longest > max_length + 1:
            rows += [cut_row(request, max_length) for request in asked]
        else:
            rows += share_rows(context, asked)
    return sorted(rows, key=lambda row: -len(row.tokens))


def cut_row(request: ChoiceRequest, max_length: int) -> ChoiceRow:
    """The row of one choice, without the first tokens of a question that is too long."""
    tokens = (*request.context, *request.choice)[-(max_length + 1) :][:-1]
    start = len(tokens) - len(request.choice)
    return ChoiceRow(tokens, [ScoredChoice(request.index, start, request.choice)])


def share_rows(context: Tokens, asked: Sequence[ChoiceRequest]) -> Iterator[ChoiceRow]:
    """The rows of one question: one for each beginning of choices that no longer one includes."""
    rows: dict[Tokens, ChoiceRow] = {}
    for request in sorted(asked, key=lambda one: -len(one.choice)):
        begin = request.choice[:-1]
        row = next((row for key, row in rows.items() if key[: len(begin)] == begin), None)
        if row is None:
            row = rows[begin] = ChoiceRow((*context, *begin))
        row.choices.append(ScoredChoice(request.index, len(context) - 1, request.choice))
    yield from rows.values()


def ways_of(requests: Sequence[ChoiceRequest], rows: Sequence[ChoiceRow]) -> dict[int, str]:
    """How each request is scored, by its index."""
    contexts = {request.index: request.context for request in requests}
    asked = Counter(contexts.values())
    made = Counter(contexts[row.choices[0].request] for row in rows)

    def name_way(context: Tokens) -> str:
        if made[context] == 1:
            return ONE_PASS
        return PASS_EACH if made[context] == asked[context] else SHARED_PREFIX

    return {index: name_way(context) for index, context in contexts.items()}


def describe_ways(counts: Mapping[str, int]) -> str:
    """The ways of a task for its signature, in an order that no shard changes."""
    return (
        "+".join(way for way in (ONE_PASS, SHARED_PREFIX, PASS_EACH) if counts.get(way)) or "none"
    )


def requests_of(requests: Iterable[Any]) -> list[ChoiceRequest]:
    """The requests of lm-eval's `_loglikelihood_tokens`: texts, question, choice."""
    return [
        ChoiceRequest(index, tuple(context), tuple(choice))
        for index, (_, context, choice) in enumerate(requests)
    ]
