"""Find pairs that repeat an earlier pair of their corpus, except for case, punctuation and digits.

Every worker finds them itself in one pass over two columns. All workers find the same pairs, since
only the order of the corpus counts. 1,000,000 pairs take about 9 s and 200 MB. Of a million
different pairs, two have the same 8-byte hash once in 37 million corpora.
"""

from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

from hala_hpc.data.corpus.reader import list_parts, read_batches

#: Rows that are normalized in one call.
BATCH_ROWS = 4096
#: Ignored in the comparison: punctuation, symbols, white space, control characters. Combining marks
#: count: in many scripts they are vowels.
SIGNS = r"[\pP\pS\pZ\pC\s]+"
NUMBERS = r"\pN+"


class RepeatedPairs:
    """The ids of the pairs of a corpus that repeat an earlier one.

    Raises: UserError (NO_INPUT, BAD_DATA) if the corpus cannot be read.
    """

    def __init__(self, corpus: Path | str) -> None:
        self._ids = repeated_ids(corpus)

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, pair_id: object) -> bool:
        import numpy as np

        wanted = np.uint64(hash_text(str(pair_id)))
        place = int(self._ids.searchsorted(wanted))
        return place < len(self._ids) and bool(self._ids[place] == wanted)


def repeated_ids(corpus: Path | str) -> Any:
    """Return the sorted hashes of the ids of all pairs that repeat an earlier one.

    A pair with the same id as the earlier one is a copy, indistinguishable from it: it stays.
    """
    import numpy as np

    both = np.fromiter(hashed_pairs(corpus), dtype=np.dtype((np.uint64, 2)))
    texts, ids = both[:, 0], both[:, 1]
    # A stable sort: equal pairs stay in the order of the corpus.
    order = np.argsort(texts, kind="stable")
    texts, ids = texts[order], ids[order]
    repeats: Any = np.zeros(len(ids), dtype=bool)
    np.equal(texts[1:], texts[:-1], out=repeats[1:])
    return np.setdiff1d(ids[repeats], ids[~repeats])


def hashed_pairs(corpus: Path | str) -> Iterator[tuple[int, int]]:
    """Yield the hash of the normalized pair and the hash of its id, in the order of the corpus."""
    for part in list_parts(corpus):
        for batch in read_batches(part, ["id", "source", "target"], BATCH_ROWS):
            normalized = normalize_pairs(batch.column("source"), batch.column("target"))
            for text, pair_id in zip(normalized, batch.column("id").to_pylist(), strict=True):
                yield hash_text(text), hash_text(pair_id)


def normalize_pairs(sources: Any, targets: Any) -> list[str]:
    """Normalize pairs: both sides without case, white space and punctuation, every number as 0."""
    import pyarrow.compute as pc

    normalized: list[str] = pc.binary_join_element_wise(
        normalize_texts(sources), normalize_texts(targets), "\n"
    ).to_pylist()
    return normalized


def normalize_texts(texts: Any) -> Any:
    """Normalize an Arrow array of texts as `normalize_pairs` does."""
    import pyarrow.compute as pc

    lower = pc.utf8_lower(pc.utf8_normalize(texts, "NFKC"))
    return pc.replace_substring_regex(pc.replace_substring_regex(lower, SIGNS, ""), NUMBERS, "0")


def hash_text(text: str) -> int:
    """Return an 8-byte hash of a text as a number."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")
