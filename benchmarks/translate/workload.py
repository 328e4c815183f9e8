"""The work of the measurement: English texts, stand-in translations, a tiny model."""

import hashlib
import json
import random
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.common.rounds import repeat_until
from hala_hpc.core.errors import BAD_DATA, UserError
from hala_hpc.data.checks.settings import CheckSettings
from hala_hpc.data.checks.translation import OutputChecks
from hala_hpc.data.corpus.reader import Row, part_name
from hala_hpc.data.corpus.writer import CorpusWriter
from hala_hpc.data.segmentation.layout import LayoutRules, lay_out
from hala_hpc.demo.tiny_models import Size, build_model
from hala_hpc.demo.tokenizer import train_tokenizer
from hala_hpc.demo.words import lexicon

#: The end of the prompt before the text of a row.
BEFORE_TEXT = "into Arabic:\n\n"
#: Longer than a block of vLLM's cache on the CPU (128 tokens): nothing shorter is shared.
PROMPT = """You are a translator who puts English texts into Modern Standard Arabic for readers \
of every Arab country. Read the whole text before you begin. Say everything that the text says, \
in its order, and say nothing that it does not say: no answer to a question that it asks, no \
comment, no title, no note about your work. Keep every number as it is written, with its digits. \
Keep names of people and places in the spelling that newspapers use. Keep code, formulas, web \
addresses, marks between angle brackets and words between braces exactly as they stand, letter \
by letter, and do not translate them. Keep the line breaks, the lists and the headings. Write \
short and natural sentences, choose plain words where there are some, and keep the tone of the \
writer, be it friendly or formal. If a word has several meanings, take the one that fits the \
sentence around it. Do not leave any English sentence as it is, and do not cut the text short.

Translate everything that follows into Arabic:

{text}"""
#: Words of a generated text: median and deviation of the logarithm, about as in instruction data.
MEDIAN_WORDS, SPREAD = 40, 0.8
VOCABULARY = 4096
DRAWS_A_ROUND = 100
#: English letters for each Arabic one (see `hala_hpc.data.checks.settings`).
LETTERS = 1.19
LATIN = re.compile(r"[A-Za-zÀ-ɏ]+(?:['’][a-z]+)?")
#: Spans that no translation changes: code, tags, addresses, placeholders, LaTeX commands.
UNTRANSLATED = re.compile(
    r"```.*?```|`[^`\n]*`|<[^<>\n]*>|\{[^{}\n]*\}|https?://\S+|\S+@\S+|%\(?\w+\)?\w?|\\\w+|\$\w+",
    re.DOTALL,
)


#: What is between two sentences of a text of one line, and of one of several.
ONE_LINE, SEVERAL_LINES = (" ",), (" ", "\n\n", "\n- ")


def texts_of(
    files: Sequence[Path], count: int, seed: int, between: Sequence[str] = ONE_LINE
) -> list[str]:
    """Return `count` different English texts from JSONL files, or generated without a file.

    Those whose stand-in translation the checks reject are left out, 1 in 200: random words that
    read as a comment would be generated again, but not by raw vLLM. Raises: UserError (65) if the
    files have fewer.
    """
    every = read_texts(files) if files else made_texts(count + count // 20 + 20, seed, between)
    found = [text for text in dict.fromkeys(every) if is_good(text)]
    if len(found) < count:
        names = " ".join(str(file) for file in files)
        raise UserError(f"--data {names}: {len(found)} different texts, need {count}", BAD_DATA)
    return random.Random(seed).sample(found, count)


@cache
def checks() -> OutputChecks:
    """Return the checks as in a recipe."""
    return OutputChecks(CheckSettings(), "en", "ar")


def is_good(text: str) -> bool:
    """Whether the checks accept the stand-ins of a text and of its segments."""
    segments = [
        segment.text
        for segment in lay_out(text, LayoutRules(512, lambda part: len(part) // 4)).segments
    ]
    return not any(checks().fault(source, stand_in(source)) for source in [text, *segments])


def read_texts(files: Iterable[Path]) -> Iterator[str]:
    """Yield the English text of each row, in the layouts of Alpaca, OPUS and messages."""
    for file in files:
        for line in file.open(encoding="utf-8"):
            row = json.loads(line)
            if "translation" in row:
                text = row["translation"]["en"]
            elif "messages" in row:
                text = row["messages"][0]["content"]
            else:
                text = "\n".join(filter(None, (row["instruction"], row.get("input"))))
            if LATIN.search(text):
                yield text


def made_texts(count: int, seed: int, between: Sequence[str] = ONE_LINE) -> list[str]:
    """Return different texts of the demo's sentences with lengths as in instruction data sets."""
    from hala_hpc.demo.pairs import distinct_pairs

    draw = random.Random(seed)
    pairs = [pair.english for pair, _ in zip(distinct_pairs(draw), range(4000), strict=False)]
    found: dict[str, None] = {}

    def one_round() -> None:
        # Short texts are sometimes repeated, long ones never.
        for _ in range(DRAWS_A_ROUND):
            if len(found) < count:
                found[made_text(draw, pairs, between)] = None

    repeat_until(count, lambda: len(found), one_round, "different texts")
    return list(found)


def made_text(
    draw: random.Random, sentences: Sequence[str], between: Sequence[str] = ONE_LINE
) -> str:
    """Make a text of some of these sentences, with a length as in instruction data sets."""
    wanted = min(MEDIAN_WORDS * draw.lognormvariate(0, SPREAD), 400)
    chosen: list[str] = []
    words = 0
    while words < wanted:
        if chosen:
            chosen.append(draw.choice(between) if len(between) > 1 else between[0])
        chosen.append(draw.choice(sentences))
        words += max(len(chosen[-1].split()), 1)
    return "".join(chosen)


@cache
def arabic_words() -> dict[int, tuple[str, ...]]:
    """Return Arabic words by the length of the English word: nouns and adjectives."""
    every = sorted(
        {
            forms[""]
            for slot in ("object", "animal", "place", "food", "job", "quality")
            for word in lexicon().get(slot, ())
            for forms in word.arabic.values()
        }
    )
    fitting: dict[int, tuple[str, ...]] = {}
    for length in range(1, 31):
        wanted = min(max(round(length / LETTERS), 3), 6)
        fitting[length] = tuple(word for word in every if len(word) == wanted)
    return fitting


def stand_in(text: str) -> str:
    """Return a text that passes counts and checks as a translation, with a similar length.

    Every English word becomes an Arabic one, always the same; everything else stays.
    """

    def word(match: re.Match[str]) -> str:
        fitting = arabic_words()[min(len(match[0]), 30)]
        return fitting[zlib.crc32(match[0].lower().encode()) % len(fitting)]

    untranslated = UNTRANSLATED.findall(text)
    parts = [LATIN.sub(word, part) for part in UNTRANSLATED.split(text)]
    return "".join(a + b for a, b in zip(parts, [*untranslated, ""], strict=True))


def write_corpus(folder: Path, texts: Sequence[str]) -> Path:
    """Write a corpus of one conversation of one message for each text, in one shard."""
    with CorpusWriter(folder / part_name(0), "conversations") as writer:
        for number, text in enumerate(texts):
            writer.add(row_of(number, text))
    return folder


def row_of(number: int, text: str) -> Row:
    """Return a row whose id differs even if the text does not."""
    name = hashlib.blake2b(f"{number} {text}".encode(), digest_size=16).hexdigest()
    messages = [{"role": "user", "content": text}]
    return {"id": name, "origin": "benchmark", "messages": messages}


def make_model(folder: Path, texts: Sequence[str], family: str = "lfm2") -> Path:
    """Make a tiny model of random weights with a tokenizer for both languages."""
    tokenizer: Any = train_tokenizer(
        [PROMPT, *texts, *(stand_in(text) for text in texts)], VOCABULARY, family
    )
    build_model(family, Size(hidden=128, layers=3, seed=0), tokenizer, folder)
    return folder


def with_duplicates(texts: Sequence[str], share: float, draw: random.Random) -> list[str]:
    """Return as many texts, of which that share repeats others, in random order."""
    unique = list(texts[: len(texts) - int(share * len(texts))])
    repeated = unique + draw.choices(unique, k=len(texts) - len(unique))
    draw.shuffle(repeated)
    return repeated
