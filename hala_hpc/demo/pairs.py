"""Sentence pairs of the demo: correct ones, spoilt ones, and questions to a judge about both."""

import random
from collections.abc import Iterator

from hala_hpc.demo.patterns import Pair, patterns

#: What a judge answers for a correct pair and for a spoilt one.
VERDICTS = ("accept", "reject")


def distinct_pairs(draw: random.Random) -> Iterator[Pair]:
    """Yield pairs endlessly: no English sentence twice, every pattern equally often."""
    seen: set[str] = set()
    while True:
        for pair in draw.choice(patterns()).fill(draw):
            if pair.english not in seen:
                seen.add(pair.english)
                yield pair


def spoil(pair: Pair, others: list[Pair], draw: random.Random) -> Pair:
    """Return the pair with a wrong translation.

    That of another sentence (half of the time), a truncated one, or the English text.
    """
    fault = draw.choice(("other", "other", "cut", "untranslated"))
    words = pair.arabic.split()
    if fault == "cut" and len(words) > 3:
        return Pair(pair.english, " ".join(words[: len(words) // 2]))
    if fault == "untranslated":
        return Pair(pair.english, pair.english)
    other = pair
    while other.arabic == pair.arabic:
        other = draw.choice(others)
    return Pair(pair.english, other.arabic)


def spoil_some(pairs: list[Pair], fraction: float, draw: random.Random) -> list[Pair]:
    """Spoil about that fraction of the pairs."""
    return [spoil(pair, pairs, draw) if draw.random() < fraction else pair for pair in pairs]


def judge_lessons(pairs: list[Pair], prompt: str, draw: random.Random) -> Iterator[tuple[str, str]]:
    """Yield training data of a judge: questions with verdicts, and as many translations.

    The first half of the pairs is judged, each as it is and spoilt. A verdict is a single bit
    and does not teach a new model which words belong together. Completing the question from
    `{target}` on does, so every pair is also a translation.
    """
    for pair in pairs[: len(pairs) // 2]:
        spoilt = spoil(pair, pairs, draw)
        for judged, verdict in zip((pair, spoilt), VERDICTS, strict=True):
            yield format_judge_question(prompt, judged), verdict
    opening = prompt.partition("{target}")[0].rstrip()
    for pair in pairs:
        yield opening.replace("{source}", pair.english), pair.arabic


def format_judge_question(prompt: str, pair: Pair) -> str:
    """Fill a pair into the judge's question."""
    return prompt.replace("{source}", pair.english).replace("{target}", pair.arabic)
