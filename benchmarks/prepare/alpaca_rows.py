"""A file of made-up Alpaca rows with the lengths of real ones, for measurements of `prepare`."""

import json
import random
from pathlib import Path

#: One of so many rows repeats an earlier one.
DUPLICATE_EVERY = 100
LETTERS = "etaoinshrdlucmfwypvbgkéж"
WEIGHTS = [12, 9, 8, 7, 7, 6, 6, 6, 5, 4, 4, 3, 3, 2, 2, 2, 2, 2, 1, 1, 1, 1, 0.2, 0.05]


def write_alpaca(path: Path, rows: int, seed: int = 7) -> int:
    """Write the rows, and count those that repeat an earlier one.

    Lengths are lognormal, in characters: questions about 70 (sigma 0.6), answers about 400 (sigma
    0.9). So a row has about 700 bytes, as in LaMini and Hermes. A third of the rows has an `input`.
    """
    chance = random.Random(seed)
    text = prose(chance, 2_000_000)
    earlier_lines: list[str] = []
    repeated = 0

    def stretch(mu: float, sigma: float) -> str:
        length = min(max(int(chance.lognormvariate(mu, sigma)), 5), 20_000)
        start = chance.randrange(len(text) - length)
        return text[start : start + length].strip() or "yes"

    with path.open("w", encoding="utf-8") as file:
        for number in range(rows):
            if earlier_lines and number % DUPLICATE_EVERY == DUPLICATE_EVERY - 1:
                file.write(chance.choice(earlier_lines))
                repeated += 1
                continue
            more = stretch(3.5, 0.6) if number % 3 == 0 else ""
            row = {"instruction": f"{number}: {stretch(4.2, 0.6)}", "input": more}
            line = json.dumps({**row, "output": stretch(6.0, 0.9)}, ensure_ascii=False) + "\n"
            if len(earlier_lines) < 1000:
                earlier_lines.append(line)
            file.write(line)
    return repeated


def prose(chance: random.Random, length: int) -> str:
    """Make words of an invented language, some quoted, with newlines between some."""
    sizes = [max(1, int(chance.gauss(5, 2))) for _ in range(20_000)]
    words = ["".join(chance.choices(LETTERS, WEIGHTS, k=size)) for size in sizes]
    words += [f'"{word}",' for word in words[:500]] + [f"{word}.\n" for word in words[:1500]]
    return " ".join(chance.choices(words, k=length // 6))
