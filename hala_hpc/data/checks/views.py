"""Cached views of a text and its translation for the checks."""

import re
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

from hala_hpc.data.checks.settings import CheckSettings
from hala_hpc.data.segmentation.alignment import StructureFault, find_structure_fault
from hala_hpc.data.segmentation.spans import Span, language_between, protected_spans
from hala_hpc.data.text.scripts import extract_letters, primary_subtag, script_pattern

_EDGE = "()[]{}<>«»“”\"'‘’`.,;:!?،؛؟…*_~|/-–—"
_NO_PROSE = re.compile(r"[\d_!-&(-/:-@\[-`{-~]")
_CODE_SIGNS = re.compile(r"[{}()\[\];=<>_\\$#@^&|]")


@dataclass(frozen=True)
class Text:
    """One side: the text, its language, and values derived from them on first use."""

    text: str
    language: str

    @cached_property
    def spans(self) -> list[tuple[str, str]]:
        """Kind and text of each protected span."""
        return self._parts[0]

    @cached_property
    def plain(self) -> str:
        """The language only, each protected span replaced by a space."""
        return " ".join(self._parts[1])

    @cached_property
    def layout(self) -> str:
        """The text with one character (U+FFFC) in place of each protected span."""
        return "\ufffc".join(self._parts[1])

    @cached_property
    def located_spans(self) -> list[Span]:
        """The protected spans with their places."""
        return protected_spans(self.text)

    @cached_property
    def _parts(self) -> tuple[list[tuple[str, str]], list[str]]:
        spans = self.located_spans
        kinds_and_texts = [(span.kind, self.text[span.start : span.end]) for span in spans]
        return kinds_and_texts, language_between(self.text, spans)

    @cached_property
    def letters(self) -> str:
        """The letters of `plain`."""
        return extract_letters(self.plain)

    @cached_property
    def words(self) -> list[str]:
        """The words of `plain`, without surrounding punctuation."""
        return [word for word in (token.strip(_EDGE) for token in self.plain.split()) if word]

    @cached_property
    def scripts(self) -> Any:
        """A pattern for letters of the language's own scripts; None if unknown."""
        return script_pattern(primary_subtag(self.language))

    @cached_property
    def own_letters(self) -> int:
        """Number of letters in the language's own scripts."""
        if self.scripts is None:
            return len(self.letters)
        return sum(map(len, self.scripts.findall(self.letters)))

    @cached_property
    def foreign_prose(self) -> int:
        """Number of letters in foreign-script words that are not names, abbreviations or code."""
        return sum(len(word) for row in self.foreign_rows for word in row if is_prose_word(word))

    @cached_property
    def foreign_rows(self) -> list[list[str]]:
        """Runs of consecutive words in other scripts.

        A comma ends a run as well: lists of names are left as they are.
        """
        if self.own_letters == len(self.letters):
            return []
        rows: list[list[str]] = [[]]
        for token in self.plain.split():
            word = token.strip(_EDGE)
            if self.scripts.search(word):
                rows.append([])
            elif extract_letters(word):
                rows[-1].append(word)
                if token.endswith((",", "،")):
                    rows.append([])
        return rows

    @property
    def has_sentence(self) -> bool:
        """Whether this is language that a translation must change: not a name, a title or code.

        It has at least three words, two of them in small letters; in scripts without spaces it has
        eight letters.
        """
        if len(self.letters) < 8:
            return False
        if len(_CODE_SIGNS.findall(self.plain)) > 0.06 * len(self.plain):
            return False
        if primary_subtag(self.language) in ("zh", "ja", "th", "lo", "km", "my"):
            return True
        if len(self.words) < 3:
            return False
        # One-letter words are as often variables as articles.
        prose = (word for word in self.words if len(word) > 1 and is_prose_word(word))
        return len(list(islice(prose, 2))) == 2


@dataclass(frozen=True)
class Sides:
    """A source and its translation, and the settings of the checks."""

    source: Text
    translation: Text
    settings: CheckSettings

    @cached_property
    def must_change(self) -> bool:
        """Whether the source must change: it is a sentence and not in the target's script.

        A source in the target's script, though its language uses another one, quotes the target
        language.
        """
        if primary_subtag(self.source.language) == primary_subtag(self.translation.language):
            return False
        source = self.source
        if not self.same_scripts and source.own_letters < 0.5 * len(source.letters):
            return False
        return source.has_sentence

    @cached_property
    def structure_fault(self) -> StructureFault | None:
        """How the structure of the translation differs from that of the source, if it does."""
        spans = self.source.located_spans, self.translation.located_spans
        return find_structure_fault(self.source.text, self.translation.text, spans)

    @cached_property
    def same_scripts(self) -> bool:
        """Whether both languages use the same scripts, as far as is known."""
        source, target = self.source.scripts, self.translation.scripts
        return source is None or target is None or source.pattern == target.pattern


def is_prose_word(word: str) -> bool:
    """Whether a word is not a name, abbreviation or code: no capital, digit or symbol in it."""
    return word == word.lower() and not _NO_PROSE.search(word)
