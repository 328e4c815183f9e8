"""Translate messages with an engine that breaks the structure of its answers, at each level.

The engine writes an Arabic word for each English one, and at a seeded rate breaks an answer of
several lines. The comparison of accepted rows with their sources shares no code with the check.
"""

import random
import re
import tempfile
from collections import Counter
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from benchmarks.translate.worker import Worker, engine_settings
from benchmarks.translate.workload import BEFORE_TEXT, stand_in, write_corpus
from hala_hpc.data.corpus.reader import Row, read_rows
from hala_hpc.data.segmentation.levels import SegmentLevel
from hala_hpc.engines.generation.engine import Completion, Request

#: Checks of words, which mean nothing here.
OF_WORDS = sorted(
    {"refusal", "comment", "copied", "wrong_language", "script", "glossary", "template_leak"}
)
RATES = (0.0, 0.05, 0.2, 0.5)
LEVELS: tuple[SegmentLevel, ...] = ("text", "paragraph", "line")
SEED = 24
_WORD = re.compile(r"[^\W\d_]+(?:['’][a-z]+)?")
_OPTION = re.compile(r"(?<![\w-])-{1,2}[A-Za-z?][\w-]*")
#: Lines that are known by more than their words: two others could be swapped unseen.
_DISTINCT = re.compile(r"\s*(?:\d+\.|-{1,2}[A-Za-z?])|.*\[\[\d+\]\]")
_MARKER = re.compile(r"^\s*(?:[-*#>]|\d+\.)+ ", re.MULTILINE)


class BreakingEngine:
    """Answers at once; a token is four characters, as of English."""

    def __init__(self, rate: float) -> None:
        self.settings = engine_settings(quick=True)
        self.max_model_len, self.max_num_seqs = self.settings.max_model_len, 64
        self.rate = rate
        self.requests = self.tokens_in = self.tokens_out = self.broken = 0
        self._held: dict[int, Request] = {}

    def prompt_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """One number for every four characters."""
        return [[0] * -(-len(text) // 4) for text in texts]

    def add(self, request: Request) -> None:
        """Take a request."""
        self._held[request.key] = request

    def step(self) -> list[Completion]:
        """Answer all requests."""
        held, self._held = list(self._held.values()), {}
        return [self._answer(request) for request in held]

    def _answer(self, request: Request) -> Completion:
        text = write_answer(request.prompt.partition(BEFORE_TEXT)[2])
        draw = random.Random(f"{SEED} {request.sampling.seed} {request.prompt}")
        if draw.random() < self.rate:
            broken = break_structure(text, draw)
            self.broken += broken != text
            text = broken
        tokens = -(-len(text) // 4)
        self.requests += 1
        self.tokens_in += len(request.ids)
        self.tokens_out += tokens
        return Completion(request.key, text, True, len(request.ids), tokens)

    def abort_all(self) -> None:
        """Forget the requests."""
        self._held.clear()

    def restart(self, max_num_seqs: int) -> None:
        """Nothing runs out of memory here."""
        self.max_num_seqs = max_num_seqs

    def processes(self) -> Sequence[BaseProcess]:
        """There are none."""
        return ()

    def close(self) -> None:
        """There is nothing to close."""


def write_answer(text: str) -> str:
    """An Arabic word for each English one; options of programs stay, as translators leave them."""
    parts = [stand_in(part) for part in _OPTION.split(text)]
    return "".join(a + b for a, b in zip(parts, [*_OPTION.findall(text), ""], strict=True))


def break_structure(text: str, draw: random.Random) -> str:
    """Do to an answer what models do: drop, merge, split, swap or repeat lines, lose signs."""
    lines = text.split("\n")
    at = draw.randrange(len(lines))
    match draw.randrange(8):
        case 0 if len(lines) > 1:
            del lines[at]
        case 1 if at:
            lines[at - 1] += " " + lines.pop(at).strip()
        case 2:
            words = lines[at].split(" ")
            lines[at] = "\n\n".join(
                [" ".join(words[: len(words) // 2]), " ".join(words[len(words) // 2 :])]
            )
        case 3 if at and all(map(_DISTINCT.match, lines[at - 1 : at + 1])):
            lines[at - 1], lines[at] = lines[at], lines[at - 1]
        case 4:
            lines.insert(at, lines[at])
        case 5:
            return _MARKER.sub("", text, count=1)
        case 6:
            return re.sub(r"\[\[\d+\]\]", "", text, count=1)
        case _:
            lines[at] = lines[at].lstrip()
    return "\n".join(lines)


def frame(text: str) -> str:
    """A text with one letter in the place of each word: what a word-by-word translation keeps."""
    return _WORD.sub("w", text)


def compare(row: Row) -> str:
    """How a translated row differs from its source: `` `same` ``, `wrapped` or `different`."""
    source, target = (
        frame(side[0]["content"]) for side in (row["messages_source"], row["messages"])
    )
    if source == target:
        return "same"
    return "wrapped" if source.split() == target.split() else "different"


def measure_levels(texts: Sequence[str]) -> dict[str, Any]:
    """Translate the texts at each level and rate; rows, their structure, requests and tokens."""
    found: dict[str, Any] = {"rows": len(texts)}
    with tempfile.TemporaryDirectory(prefix="hala-structure-") as folder:
        corpus = write_corpus(Path(folder) / "corpus", texts)
        for level in LEVELS:
            for rate in RATES:
                base = Path(folder) / f"{level}-{rate}"
                found[f"{level} {rate}"] = measure_level(corpus, base, level, rate)
    return found


def measure_level(corpus: Path, base: Path, level: SegmentLevel, rate: float) -> dict[str, Any]:
    """Translate a corpus at one level with an engine that breaks a share of its answers."""
    engine = BreakingEngine(rate)
    run = Worker(engine, Path("model"), level, OF_WORDS).run(corpus, base)
    folders = sorted({part.parent for part in (base / "units").glob("*/part-*.parquet")})
    rows = [row for folder in folders for row in read_rows(folder)]
    return {
        "accepted": len(rows),
        "rejected": run.rejected,
        "structure": dict(Counter(map(compare, rows))),
        "requests": engine.requests,
        "broken": engine.broken,
        "tokens_in": engine.tokens_in,
        "tokens_out": engine.tokens_out,
    }
