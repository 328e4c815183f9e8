"""Training data of the `sft` benchmark: conversations of one turn, and tiny models."""

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from hala_hpc.data.corpus.reader import part_name
from hala_hpc.data.corpus.writer import CorpusWriter
from hala_hpc.demo.pairs import distinct_pairs
from hala_hpc.demo.patterns import Pair
from hala_hpc.demo.tiny_models import Size, build_model
from hala_hpc.demo.tokenizer import train_tokenizer

Turns = tuple[str, str]
VOCABULARY = 4096
#: Words of each row when all rows have the same number of tokens.
EQUAL_WORDS = 200
#: Width of a head, as in real models. With narrow heads attention dominates a pass on a CPU, as it
#: grows with the square of the length. Then a full row costs twice as much for each token.
HEAD_WIDTH = 128


@dataclass(frozen=True)
class Rows:
    """The same rows for both sides."""

    corpus: Path
    """For `tokenize`."""
    plain: Path
    """JSON lines of prompts and completions, for TRL."""
    count: int


class RealHeads(Size):
    """Sizes of a tiny model with heads as wide as in a real one."""

    @property
    def heads(self) -> int:
        """Attention heads."""
        return self.hidden // HEAD_WIDTH


def load_turns(files: Sequence[Path], draw: random.Random) -> list[Turns]:
    """Load questions and answers for the rows: from JSON lines, or pairs of the demo."""
    if files:
        return list(read_turns(files))
    return [(pair.english, pair.arabic) for pair in demo_pairs(draw)]


def demo_pairs(draw: random.Random) -> list[Pair]:
    """Make two thousand sentence pairs of the demo."""
    return [pair for pair, _ in zip(distinct_pairs(draw), range(2000), strict=False)]


def turns_of(files: Sequence[Path], count: int, seed: int) -> list[Turns]:
    """Return questions and answers from JSON lines of Alpaca or OPUS; made up without a file.

    Returns all rows of the files if there are fewer.
    """
    every = list(read_turns(files)) if files else list(made_turns(count, seed))
    random.Random(seed).shuffle(every)
    return every[:count]


def read_turns(files: Sequence[Path]) -> Iterator[Turns]:
    """Question and answer of every row."""
    for file in files:
        for line in file.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if "translation" in row:
                turns = (f"Translate: {row['translation']['en']}", row["translation"]["ar"])
            else:
                asked = "\n".join(filter(None, (row["instruction"], row.get("input"))))
                turns = (asked, row["output"])
            if all(turn.strip() for turn in turns):
                yield turns


def made_turns(count: int, seed: int) -> Iterator[Turns]:
    """Make turns of the demo's vocabulary with lengths as in instruction data sets."""
    draw = random.Random(seed)
    pairs = demo_pairs(draw)
    for _ in range(count):
        many = max(1, round(4 * draw.lognormvariate(0, 0.8)))
        chosen = draw.choices(pairs, k=many)
        yield " ".join(p.english for p in chosen), " ".join(p.arabic for p in chosen)


def equal_turns(count: int, seed: int) -> list[Turns]:
    """Make rows of the same number of tokens: the same words in another order each time."""
    words = [f"{letter}{n}" for n in range(EQUAL_WORDS // 20) for letter in "abcdefghijklmnopqrst"]
    draw = random.Random(seed)
    return [("Say this.", " ".join(draw.sample(words, len(words)))) for _ in range(count)]


def write_rows(folder: Path, turns: Sequence[Turns]) -> Rows:
    """Write the rows for both sides."""
    rows = Rows(folder / "corpus", folder / "rows.jsonl", len(turns))
    with CorpusWriter(rows.corpus / part_name(0), "conversations") as writer:
        for number, turn in enumerate(turns):
            name = blake2b(f"{number}".encode(), digest_size=16).hexdigest()
            writer.add({"id": name, "origin": "benchmark", "messages": messages(turn)})
    with rows.plain.open("w", encoding="utf-8") as file:
        for turn in turns:
            user, assistant = messages(turn)
            row = {"prompt": [user], "completion": [assistant]}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return rows


def messages(turn: Turns) -> list[dict[str, str]]:
    """A question and its answer as messages."""
    return [
        {"role": role, "content": text}
        for role, text in zip(("user", "assistant"), turn, strict=True)
    ]


def make_model(folder: Path, turns: Sequence[Turns], family: str, hidden: int) -> Path:
    """Make a tiny model of random weights, and a tokenizer for these words."""
    texts = [text for turn in turns for text in turn]
    tokenizer: Any = train_tokenizer(texts, VOCABULARY, family)
    build_model(family, RealHeads(hidden=hidden, layers=3, seed=0), tokenizer, folder)
    return folder
