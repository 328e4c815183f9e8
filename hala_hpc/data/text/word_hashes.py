"""Hash the words of texts, and all runs of n consecutive words, for a whole batch at once.

A word is a run of letters and digits in lower case; in scripts without spaces between words each
letter counts as one. Punctuation, white space, compatibility forms (NFKC) and the vowel marks of
Arabic make no difference; a text of nothing else is one word.
xxhash hashes a word; numpy joins the hashes of n words, so that n costs nothing per text.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any
from unicodedata import normalize

#: Letters of Thai, Lao, Myanmar, Khmer, kana and Han, of which each is a word.
SPACELESS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
HAS_SPACELESS = re.compile(f"[{SPACELESS}]")
MIXED_WORD = re.compile(f"[{SPACELESS}]|[^\\W_{SPACELESS}]+")
#: Takes half as long as the pattern above.
WORD = re.compile(r"[^\W_]+")
#: Vowel marks and tatweel, which the same text has or lacks.
ARABIC_VOWELS = re.compile("[\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06ed]+")
ASCII_WORD = re.compile(r"[a-z0-9]+")
#: Odd, so that multiplication loses no bit; of no other meaning.
FACTOR = 0x9E3779B97F4A7C15
#: Constants of the finalizer of MurmurHash3.
MIX = (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53)


def split_words(text: str) -> list[str]:
    """Return the words of a text in lower case; a text of symbols alone is one word."""
    if text.isascii():
        found = ASCII_WORD.findall(text.lower())
    else:
        text = ARABIC_VOWELS.sub("", normalize("NFKC", text).lower())
        found = (MIXED_WORD if HAS_SPACELESS.search(text) else WORD).findall(text)
    return found or text.split()[:1]


@dataclass(frozen=True)
class WordHashes:
    """The words of a batch of texts, hashed, one text after another."""

    values: Any
    """uint64 array of all words."""
    ends: Any
    """int64 array: index after the last word of each text."""

    def windows(self, size: int, is_short_whole: bool) -> tuple[Any, Any]:
        """Return the hashes of all runs of `size` words, and the number of the text of each.

        A text with fewer words gives one hash of all its words with `is_short_whole`, none
        otherwise; a text without words gives none.
        """
        import numpy as np

        starts = np.concatenate([[0], self.ends[:-1]])
        counts = self.ends - starts
        full = np.maximum(counts - size + 1, 0)
        texts: Any = np.repeat(np.arange(len(counts)), full)
        # Number of each window within its text, then the index of its first word.
        within = np.arange(len(texts)) - np.repeat(np.cumsum(full) - full, full)
        hashes = self._join(starts[texts] + within, size)
        if not is_short_whole:
            return hashes, texts
        found, owners = [hashes], [texts]
        for count in range(1, size):
            short = np.flatnonzero(counts == count)
            found.append(self._join(starts[short], count))
            owners.append(short)
        hashes, texts = np.concatenate(found), np.concatenate(owners)
        order = np.argsort(texts, kind="stable")
        return hashes[order], texts[order]

    def _join(self, first: Any, size: int) -> Any:
        """Hash the runs of `size` words that begin at these indexes."""
        import numpy as np

        hashes: Any = np.full(len(first), size, np.uint64)
        for offset in range(size):
            hashes = hashes * np.uint64(FACTOR) + self.values[first + offset]
        for factor in MIX:
            hashes = (hashes ^ (hashes >> np.uint64(33))) * np.uint64(factor)
        return hashes ^ (hashes >> np.uint64(33))


def hash_words(texts: Sequence[Sequence[str]]) -> WordHashes:
    """Hash the words of texts that `split_words` has split."""
    import numpy as np
    from xxhash import xxh3_64_intdigest

    ends = np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)))
    words = map(str.encode, chain.from_iterable(texts))
    count = int(ends[-1]) if len(ends) else 0
    return WordHashes(np.fromiter(map(xxh3_64_intdigest, words), np.uint64, count), ends)
