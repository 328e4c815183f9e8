"""Filter rows by language, by a column of the data or by language detection.

A row is in another language if one of its messages is certainly in another one: of an English
question with a French answer only half could be translated. Short, mixed and uncertain texts are
kept. Only the start of the first messages is read, without system prompts. The error rates and
the speed are in docs/measurements.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from hala_hpc.data.corpus.reader import Row
from hala_hpc.data.text.language import MIN_LETTERS, LanguageDetector
from hala_hpc.data.text.scripts import extract_letters, known_codes, primary_subtag, script_share

#: Characters read of each message: two sentences, as reliable as a page.
MESSAGE_CHARACTERS = 200
#: For shorter messages only the script decides: of 1,848 English phrases of 12 to 23 letters the
#: model takes 11 for another language, of 4,894 longer ones none.
SENTENCE_LETTERS = 24
#: Messages read of a conversation: two questions and their answers.
MESSAGES = 4
#: Its model is loaded on first use.
_LANGUAGES = LanguageDetector()


@dataclass(frozen=True)
class WantedLanguages:
    """The languages whose rows are kept; all rows if none is named."""

    codes: tuple[str, ...] = ()
    """ISO 639 codes."""
    field: str = ""
    """Column, before renaming, with the language code of a row; "" for none."""

    def excludes(self, row: Row, roles: Sequence[str], texts: Sequence[str]) -> bool:
        """Whether a row is certainly in none of the languages; for a pair the source counts."""
        if not self.codes:
            return False
        column_code = row.get(self.field) if self.field else None
        if isinstance(column_code, str) and primary_subtag(column_code) in known_codes():
            return primary_subtag(column_code) not in map(primary_subtag, self.codes)
        if not roles:
            return self._is_foreign(texts[0])
        messages = [
            text for role, text in zip(roles, texts, strict=True) if role not in ("system", "tool")
        ]
        return any(map(self._is_foreign, messages[:MESSAGES]))

    def _is_foreign(self, text: str) -> bool:
        start = text[:MESSAGE_CHARACTERS]
        return not any(may_be(start, code) for code in self.codes)


def may_be(text: str, code: str) -> bool:
    """Whether a text may be in a language: it is too short, or not certainly in another."""
    found = extract_letters(text)
    if len(found) < MIN_LETTERS:
        return True
    if script_share(found, code) < 0.5:
        return False
    return len(found) < SENTENCE_LETTERS or _LANGUAGES.is_language(text, code) is not False
