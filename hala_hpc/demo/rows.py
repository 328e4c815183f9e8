"""Rows of the demo in the formats of public data sets: OPUS, Alpaca and messages."""

import json
import random
from collections.abc import Iterable, Iterator
from importlib.resources import files
from itertools import islice
from typing import Any

from hala_hpc.demo.pairs import distinct_pairs
from hala_hpc.demo.patterns import Pair, Pattern, patterns

Row = dict[str, Any]
#: Questions with their answers, in order.
Turns = Iterable[tuple[Pair, ...]]
#: System prompt of some generated conversations.
SYSTEM = "You are a helpful teacher."


def opus_row(pair: Pair) -> Row:
    """Return a pair in the format of OPUS-100."""
    return {"translation": {"en": pair.english, "ar": pair.arabic}}


def question_row(source: str, target: str) -> Row:
    """Return a question to a model and its answer, in the other format of pairs."""
    return {"source": source, "target": target}


def hand_written(name: str) -> list[Row]:
    """Read the rows of `alpaca.jsonl` or `messages.jsonl`, which were written by hand."""
    text = files("hala_hpc.demo").joinpath(name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def question_patterns() -> list[Pattern]:
    """Return the patterns that have an answer."""
    return [pattern for pattern in patterns() if len(pattern.pairs) == 2]


def instruction_rows(
    count: int, draw: random.Random, avoid: set[str], first: Iterable[Turns] = ()
) -> list[Row]:
    """Return English conversations with words of the lexicon, including those of `first`.

    One in four has a second turn, which asks for a fact; one in eight has a system prompt. First
    questions are distinct, and sentences in `avoid` do not occur.
    """
    known = list(facts())
    rows = [conversation(turns, draw) for turns in first]
    seen = {row["messages"][0]["content"] for row in rows}
    while len(rows) < count:
        turns = [draw.choice(question_patterns()).fill(draw)]
        if draw.random() < 1 / 4:
            turns.append(draw.choice(known))
        sentences = {
            text for turn in turns for pair in turn for text in (pair.english, pair.arabic)
        }
        if turns[0][0].english not in seen and not sentences & avoid:
            seen.add(turns[0][0].english)
            rows.append(conversation(turns, draw))
    draw.shuffle(rows)
    return rows[:count]


def facts() -> Iterator[tuple[Pair, ...]]:
    """Yield every question of the section `knowledge` with its answer, for all words."""
    for pattern in question_patterns():
        if pattern.topic == "knowledge":
            yield from pattern.fill_all()


def conversation(turns: Turns, draw: random.Random) -> Row:
    """Return questions and answers in the format of messages."""
    system = [SYSTEM] if draw.random() < 1 / 8 else []
    messages = [{"role": "system", "content": text} for text in system]
    for question, answer in turns:
        messages.append({"role": "user", "content": question.english})
        messages.append({"role": "assistant", "content": answer.english})
    return {"messages": messages}


def take_pairs(source: Iterator[Pair], count: int) -> list[Pair]:
    """Take the next pairs."""
    return list(islice(source, count))


def take_held_out(source: Iterator[Pair], count: int) -> list[Pair]:
    """Take the next pairs that are no facts: the English rows contain every fact."""
    known = {pair.english for pair in fact_pairs()}
    return list(islice((pair for pair in source if pair.english not in known), count))


def take_with_facts(source: Iterator[Pair], count: int) -> list[Pair]:
    """Take the next pairs that are no facts, after all the facts."""
    known = fact_pairs()
    return (known + take_held_out(source, count))[:count]


def fact_pairs() -> list[Pair]:
    """Return the sentences of all facts, questions and answers."""
    return [pair for turn in facts() for pair in turn]


def pair_source(seed: int, avoid: set[str]) -> Iterator[Pair]:
    """Yield distinct pairs of a seed without the sentences of `avoid`, in either language.

    Callers that share the source get different pairs.
    """
    for pair in distinct_pairs(random.Random(seed)):
        if pair.english not in avoid and pair.arabic not in avoid:
            yield pair
