"""Pairs of sentences of a second language, from a pattern file: words of slots, and sentences."""

import itertools
import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

FOLDER = Path(__file__).with_name("patterns")
SLOT = re.compile(r"\{([a-z]+)\}")


def read_pairs(code: str) -> list[tuple[str, str]]:
    """Every sentence of a pattern file with every word in its slots: English, and the language."""
    sections: dict[str, list[tuple[str, str]]] = {}
    name = ""
    for line in (FOLDER / f"{code}.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            name = line.strip("[]")
            sections[name] = []
        elif line and not line.startswith("#"):
            english, other = line.split(" | ")
            sections[name].append((english, other))
    patterns = sections.pop("sentences")
    return [pair for pattern in patterns for pair in fill(pattern, sections)]


def fill(
    pattern: tuple[str, str], sections: dict[str, list[tuple[str, str]]]
) -> Iterator[tuple[str, str]]:
    """A pattern with all words in its slots, with a capital letter at the start."""
    slots = SLOT.findall(pattern[0])
    for chosen in itertools.product(*(sections[slot] for slot in slots)):
        fillers = dict(zip(slots, chosen, strict=True))
        sides = [
            fill_side(text, {slot: pair[side] for slot, pair in fillers.items()})
            for side, text in enumerate(pattern)
        ]
        english, other = (text[0].upper() + text[1:] for text in sides)
        yield english, other


def write_pairs(folder: Path, code: str, held_out: int) -> None:
    """Write `pairs.jsonl`, `test-pairs.jsonl` and `english.jsonl`; no sentence is in two files."""
    pairs = list(dict.fromkeys(read_pairs(code)))
    random.Random(0).shuffle(pairs)
    rows = [{"translation": {"en": english, code: other}} for english, other in pairs]
    taken = [english for english, _ in pairs[held_out : 3 * held_out]]
    asked = [
        {
            "messages": [
                {"role": "user", "content": question},
                {"role": "assistant", "content": answer},
            ]
        }
        for question, answer in zip(taken[::2], taken[1::2], strict=True)
    ]
    write_rows(folder / "test-pairs.jsonl", rows[:held_out])
    write_rows(folder / "english.jsonl", asked)
    write_rows(folder / "pairs.jsonl", rows[3 * held_out :])


def write_rows(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write JSON lines."""
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")


def fill_side(text: str, fillers: dict[str, str]) -> str:
    """One side of a sentence with the words of its slots."""
    return SLOT.sub(lambda slot: fillers[slot[1]], text)
