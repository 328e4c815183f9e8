"""Compute what the searches over all rows need of each row, while it is spilled.

The features of a split are in files beside its rows, one value per row: the finding about the row
alone, its MinHash signature, and the hash of its words without numbers. So the searches never read
texts. System prompts are not compared: a thousand rows may share one.
"""

import json
import re
from array import array
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

from hala_hpc.data.ingest.answer_rules import VISIBLE, AnswerRules
from hala_hpc.data.ingest.contamination import SharedText, open_index
from hala_hpc.data.ingest.quality_settings import ANSWER_RULES, QualitySearches
from hala_hpc.data.text.word_hashes import WordHashes, hash_words, split_words

#: Values of a signature. The standard error of the similarity is 0.035 at 0.8.
PERMUTATIONS = 128
SIGNATURE_BYTES = 4 * PERMUTATIONS
#: The seed is a part of the result.
SEED = 1
#: The bit of a row that shares an n-gram with a benchmark, after those of the answer rules.
SHARES_NGRAM = 1 << len(ANSWER_RULES)
NUMBER = re.compile(r"\d+")


class RowFeatures:
    """The features of one split; use as a context manager. Memory is that of one batch."""

    def __init__(self, file: Path, searches: QualitySearches) -> None:
        self.files = FeatureFiles(file)
        self.searches = searches
        self.rules = AnswerRules(searches.rules)
        self.rows = 0
        self._stack = ExitStack()
        self._open: dict[Path, BinaryIO] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def add(self, batch: "BatchTexts") -> None:
        """Add a batch of rows, of which the rejected ones have no features."""
        import numpy as np

        findings: Any = np.zeros(batch.rows, np.uint8)
        self._apply_rules(batch, findings)
        near, repeated = self.searches.near, self.searches.rules.repeated != "off"
        if near.threshold or repeated or self.searches.contamination:
            texts = batch.compared_texts()
            words = hash_words(texts.words)
            if self.searches.contamination:
                self._find_shared(texts, words, findings)
            if near.threshold:
                self._write(self.files.signatures, self._signatures(texts, words, batch.rows))
            if repeated:
                self._write(self.files.templates, template_hashes(texts, batch.rows))
        # Most splits have no finding, and no file then.
        if findings.any() or self.files.findings in self._open:
            self._pad_findings()
            self._write(self.files.findings, findings)
        self.rows += batch.rows

    def _apply_rules(self, batch: "BatchTexts", findings: Any) -> None:
        """Note the rule that each row breaks."""
        if not self.rules.tests:
            return
        texts = batch.texts
        if self.rules.is_only_empty and all(text is None or VISIBLE.search(text) for text in texts):
            return
        for row in batch.good_rows:
            findings[row] = self.rules.find_broken(*batch.row(row))

    def _find_shared(self, texts: "ComparedTexts", words: WordHashes, findings: Any) -> None:
        """Note the rows that share an n-gram with a benchmark."""
        assert self.searches.contamination is not None
        lines = []
        for shared in open_index(self.searches.contamination).find(words, texts.words):
            row = texts.rows[shared.row]
            if not findings[row] & SHARES_NGRAM:
                findings[row] |= SHARES_NGRAM
                lines.append(json.dumps(shared._replace(row=self.rows + row)) + "\n")
        if lines:
            self._file(self.files.shared).write("".join(lines).encode())

    def _signatures(self, texts: "ComparedTexts", words: WordHashes, rows: int) -> Any:
        """Return the MinHash signature of each row; zeros for rows without words."""
        import numpy as np
        from rensa import RMinHash

        shingles, owners = words.windows(self.searches.near.shingle_size, is_short_whole=True)
        row_of_text = np.array(texts.rows, np.int64)
        counts = np.bincount(row_of_text[owners], minlength=rows)
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.uint64)
        matrix = RMinHash.digest_matrix_from_flat_token_hashes(
            shingles, offsets, num_perm=PERMUTATIONS, seed=SEED
        )
        values = array("I")
        for row in matrix.to_rows():
            # A quarter of the time that numpy takes for an iterable of numbers.
            values.fromlist(row)
        signatures = np.array(values, np.uint32).reshape(rows, PERMUTATIONS)
        signatures[counts == 0] = 0
        return signatures

    def _pad_findings(self) -> None:
        """Write that the batches before the first finding have none."""
        if self.files.findings not in self._open:
            self._file(self.files.findings).write(bytes(self.rows))

    def _write(self, path: Path, values: Any) -> None:
        self._file(path).write(values.tobytes())

    def _file(self, path: Path) -> BinaryIO:
        if path not in self._open:
            self._open[path] = self._stack.enter_context(path.open("wb"))
        return self._open[path]


@dataclass(frozen=True)
class FeatureFiles:
    """The files of features beside the file of a split."""

    file: Path

    @property
    def findings(self) -> Path:
        """A byte per row: the bits of broken rules, and SHARES_NGRAM."""
        return self.file.with_suffix(".findings")

    @property
    def signatures(self) -> Path:
        """PERMUTATIONS uint32 per row."""
        return self.file.with_suffix(".signatures")

    @property
    def templates(self) -> Path:
        """A uint64 per row; 0 for rows without words."""
        return self.file.with_suffix(".templates")

    @property
    def shared(self) -> Path:
        """JSON lines of SharedText, in order of rows."""
        return self.file.with_suffix(".shared")

    def read_findings(self, rows: int) -> Any:
        """Return the findings of the first rows."""
        import numpy as np

        if not self.findings.exists():
            return np.zeros(rows, np.uint8)
        found = np.fromfile(self.findings, np.uint8, rows)
        return np.concatenate([found, np.zeros(rows - len(found), np.uint8)])

    def read_shared(self) -> Iterator[SharedText]:
        """Yield what rows share with benchmarks, in order."""
        if self.shared.exists():
            with self.shared.open(encoding="utf-8") as lines:
                yield from (SharedText(*json.loads(line)) for line in lines)


@dataclass(frozen=True)
class BatchTexts:
    """The buffered rows of a split: those of a conversation, or two texts of a pair each."""

    reasons: Sequence[str]
    roles: Sequence[str]
    """Empty for pairs."""
    texts: Sequence[str | None]
    """None for the two sides of a rejected pair."""
    ends: Sequence[int]
    """Index of the first text of each row, and the end of the last one."""

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(self.reasons)

    @property
    def good_rows(self) -> list[int]:
        """The rows that are not rejected yet."""
        return [number for number, reason in enumerate(self.reasons) if not reason]

    def row(self, number: int) -> tuple[Sequence[str], Sequence[Any]]:
        """Return roles and texts of a row."""
        here = slice(self.ends[number], self.ends[number + 1])
        return self.roles[here], self.texts[here]

    def compared_texts(self) -> "ComparedTexts":
        """Return the words of all texts but system prompts, of the rows that are not rejected."""
        rows, words = [], []
        for number in self.good_rows:
            for at in range(self.ends[number], self.ends[number + 1]):
                text = self.texts[at]
                if text is not None and not (self.roles and self.roles[at] == "system"):
                    rows.append(number)
                    words.append(split_words(text))
        return ComparedTexts(rows, words)


@dataclass(frozen=True)
class ComparedTexts:
    """The words of some texts, each with the row that it belongs to."""

    rows: list[int]
    words: list[list[str]]


def template_hashes(texts: ComparedTexts, rows: int) -> Any:
    """Return a hash of the words of each row with every number as 0; 0 for rows without words."""
    import numpy as np
    from xxhash import xxh3_64_intdigest

    joined: dict[int, list[str]] = {}
    for row, words in zip(texts.rows, texts.words, strict=True):
        joined.setdefault(row, []).append(NUMBER.sub("0", " ".join(words)))
    hashes: Any = np.zeros(rows, np.uint64)
    for row, parts in joined.items():
        if any(parts):
            hashes[row] = xxh3_64_intdigest("\n".join(parts).encode()) or 1
    return hashes
