"""Find rows that share a run of words with texts of benchmarks.

Every text in every field of the benchmark's rows counts, whatever the fields are called. GPT-3
(arXiv 2005.14165, appendix C) compared runs of 13 words, which is the default here. Texts with
fewer words are not searched; their number is in the summary.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from hala_hpc.core.errors import BAD_DATA, UserError
from hala_hpc.data.readers.sources import DataSource
from hala_hpc.data.text.word_hashes import WordHashes, hash_words, split_words

#: Texts of a benchmark that are hashed at a time.
BATCH_TEXTS = 5000
#: Bits of a hash that a first look-up in a table of a byte each uses: 16 MB.
TABLE_BITS = 24
#: n-grams that are looked for at most: 12 bytes each, in files that all processes map.
MAX_NGRAMS = 20_000_000
SUMMARY = "benchmarks.json"


class BenchmarkText(NamedTuple):
    """A text of a benchmark: its file and its line from 1."""

    where: str
    line: int


class SharedText(NamedTuple):
    """What a row shares with a benchmark."""

    row: int
    """Index of the row in its batch or split."""
    where: str
    """File of the benchmark."""
    line: int
    """Line in that file, from 1."""
    text: str
    """The shared words, in lower case."""


class SearchedBenchmark(BaseModel):
    """What was read of one setting of `contamination`."""

    model_config = ConfigDict(frozen=True)

    name: str
    """The file, folder or hub id."""
    rows: int
    texts: int
    """Texts in all fields."""
    short_texts: int
    """Texts with too few words to be searched."""


class ContaminationIndex:
    """The n-grams of some benchmarks: sorted hashes, each with the first text that has it.

    A hash of 8 bytes is wrong for one in 10^13 n-grams if a million are looked for.
    """

    def __init__(self, folder: Path) -> None:
        import numpy as np

        self.hashes: Any = np.load(folder / "hashes.npy", mmap_mode="r")
        self.texts: Any = np.load(folder / "texts.npy", mmap_mode="r")
        self.places: Any = np.load(folder / "places.npy", mmap_mode="r")
        listing = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
        self.size: int = listing["ngram"]
        self.files: list[str] = listing["files"]
        self._is_present: Any = np.zeros(1 << TABLE_BITS, bool)
        self._is_present[self._short(self.hashes)] = True

    def _short(self, hashes: Any) -> Any:
        """Return the highest bits of hashes."""
        import numpy as np

        return (hashes >> np.uint64(64 - TABLE_BITS)).astype(np.int64)

    def find(self, words: WordHashes, texts: Sequence[Sequence[str]]) -> Iterator[SharedText]:
        """Yield the first shared run of words of each text that has one; `row` is its index."""
        import numpy as np

        if not len(self.hashes):
            return
        windows, owners = words.windows(self.size, is_short_whole=False)
        likely = np.flatnonzero(self._is_present[self._short(windows)])
        places: Any = np.searchsorted(self.hashes, windows[likely])
        places[places == len(self.hashes)] = 0
        is_found = self.hashes[places] == windows[likely]
        found, places = likely[is_found], places[is_found]
        _, first = np.unique(owners[found], return_index=True)
        starts = np.concatenate([[0], np.cumsum(np.bincount(owners, minlength=len(texts)))])
        for at in first.tolist():
            text = int(owners[found[at]])
            within = int(found[at] - starts[text])
            file, line = self.places[self.texts[places[at]]].tolist()
            shared = " ".join(texts[text][within : within + self.size])
            yield SharedText(text, self.files[file], line, shared)


@cache
def open_index(folder: Path) -> ContaminationIndex:
    """Open an index once per process."""
    return ContaminationIndex(folder)


@dataclass
class IndexBuilder:
    """Collects the n-grams of benchmarks, batch by batch."""

    size: int
    """Words of an n-gram."""

    def __post_init__(self) -> None:
        self.hashes: list[Any] = []
        self.owners: list[Any] = []
        self.places: list[tuple[int, int]] = []
        self.files: list[str] = []
        self.searched: list[SearchedBenchmark] = []

    def add(self, name: str, sources: Iterable[DataSource]) -> None:
        """Add all rows of the sources of one setting.

        Raises: UserError (BAD_DATA) if no text has enough words.
        """
        rows = texts = short = 0
        for source in sources:
            self.files.append(source.where)
            # The place of a text, its words.
            found = (
                (record.line, text)
                for record in source.read()
                if record.value is not None
                for text in chain([None], texts_in(record.value))
            )
            while batch := list(islice(found, BATCH_TEXTS)):
                rows += sum(text is None for _, text in batch)
                lines = [(line, split_words(text)) for line, text in batch if text is not None]
                texts += len(lines)
                long = [(line, words) for line, words in lines if len(words) >= self.size]
                short += len(lines) - len(long)
                self._add_texts(long)
        if texts == short:
            raise UserError(
                f"contamination={name}: none of its {texts} texts has {self.size} words; lower "
                "contamination_ngram, or remove it",
                BAD_DATA,
            )
        self.searched.append(
            SearchedBenchmark(name=name, rows=rows, texts=texts, short_texts=short)
        )

    def _add_texts(self, lines: list[tuple[int, list[str]]]) -> None:
        import numpy as np

        windows, owners = hash_words([words for _, words in lines]).windows(self.size, False)
        self.hashes.append(windows)
        self.owners.append((owners + len(self.places)).astype(np.uint32))
        self.places += [(len(self.files) - 1, line) for line, _ in lines]
        if sum(map(len, self.hashes)) > MAX_NGRAMS:
            raise UserError(
                f"contamination: has more than {MAX_NGRAMS} n-grams, up to {self.files[-1]}; name "
                "benchmarks, not training data",
                BAD_DATA,
            )

    def save(self, folder: Path) -> None:
        """Write the index into a folder that a job removes at its end."""
        import numpy as np

        hashes, owners = np.concatenate(self.hashes), np.concatenate(self.owners)
        hashes, first = np.unique(hashes, return_index=True)
        folder.mkdir()
        np.save(folder / "hashes.npy", hashes)
        np.save(folder / "texts.npy", owners[first])
        np.save(folder / "places.npy", np.array(self.places, np.int64).reshape(-1, 2))
        listing = {"ngram": self.size, "files": self.files}
        (folder / SUMMARY).write_text(json.dumps(listing), encoding="utf-8")


def texts_in(value: Any) -> Iterator[str]:
    """Yield all texts in a value, through lists and the values of objects."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from texts_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from texts_in(item)
