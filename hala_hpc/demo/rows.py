"""Rows of the demo in the shapes of public data sets: OPUS, Alpaca and messages."""

import json
import random
from collections.abc import Iterable, Iterator
from importlib.resources import files
from itertools import islice
from typing import Any

from hala_hpc.demo.pairs import distinct_pairs
from hala_hpc.demo.patterns import Pair, Pattern, patterns

Row = dict[str, Any]
#: Questions with their answers, one after the other.
Turns = Iterable[tuple[Pair, ...]]
#: What some generated conversations begin with.
SYSTEM = "You are a helpful teacher."


def opus_row(pair: Pair) -> Row:
    """Return a pair in the shape of OPUS-100."""
    return {"translation": {"en": pair.english, "ar": pair.arabic}}


def question_row(source: str, target: str) -> Row:
    """Return a question to a model and its answer, in the other shape of pairs."""
    return {"source": source, "target": target}


def hand_written(name: str) -> list[Row]:
    """Read the rows of `alpaca.jsonl` or `messages.jsonl`, written by hand for the demo."""
    text = files("hala_hpc.demo").joinpath(name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def question_patterns() -> list[Pattern]:
    """Return the patterns that have an answer."""
    return [pattern for pattern in patterns() if len(pattern.pairs) == 2]


def instruction_rows(
    count: int, draw: random.Random, avoid: set[str], first: Iterable[Turns] = ()
) -> list[Row]:
    """Return English conversations in words of the lexicon, those of `first` among them.

    One in four has a second turn, which asks for a fact; one in eight has a system prompt. No
    first question comes twice, and none of the sentences to avoid comes at all.
    """
    known = list(facts())
    rows = [conversation(turns, draw) for turns in first]
    seen = {row["messages"][0]["content"] for row in rows}
    while len(rows) < count:
        turns = [draw.choice(question_patterns()).fill(draw)]
        if draw.random() < 1 / 4:
            turns.append(draw.choice(known))
        sentences = {pair.english for turn in turns for pair in turn}
        if turns[0][0].english not in seen and not sentences & avoid:
            seen.add(turns[0][0].english)
            rows.append(conversation(turns, draw))
    draw.shuffle(rows)
    return rows[:count]


def facts() -> Iterator[tuple[Pair, ...]]:
    """Yield every question of the section `knowledge` with its answer, in all its words."""
    for pattern in question_patterns():
        if pattern.topic == "knowledge":
            yield from pattern.fill_all()


def conversation(turns: Turns, draw: random.Random) -> Row:
    """Return questions and answers in the shape of messages."""
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
    """Take the next pairs that are no facts, for the English rows tell every fact."""
    known = {pair.english for pair in fact_pairs()}
    return list(islice((pair for pair in source if pair.english not in known), count))


def take_with_facts(source: Iterator[Pair], count: int) -> list[Pair]:
    """Take the next pairs that are no facts, after all the facts."""
    known = fact_pairs()
    return (known + take_held_out(source, count))[:count]


def fact_pairs() -> list[Pair]:
    """Return the sentences of all facts, questions and answers."""
    return [pair for turn in facts() for pair in turn]


def pair_source(seed: int) -> Iterator[Pair]:
    """Yield distinct pairs of a seed; whoever takes from it gets what nobody else has."""
    return distinct_pairs(random.Random(seed))
