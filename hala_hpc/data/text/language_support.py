"""What there is for a language, and what is missing, by `languages.toml` and the tables here.

Light: read by commands that write or check a recipe, without the model that detects languages.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from hala_hpc.core.errors import UserError, suggest_name
from hala_hpc.core.paths import read_toml
from hala_hpc.data.text.scripts import primary_subtag, script_names

#: Languages whose phrases of refusals and comments are known (`data/checks/phrases.py`).
KNOWN_PHRASES = frozenset({"ar", "en"})
#: Languages whose number words are known (`number_words.py`, `european_number_words.py`).
KNOWN_NUMBER_WORDS = frozenset({"ar", "de", "en", "es", "fr"})
#: The only language whose ratios of lengths were measured on human translations.
MEASURED_LENGTHS = frozenset({"ar"})
#: Scripts that write about a letter for each sound, as English does: ratios of letters are near 1.
ALPHABETS = frozenset({"Arabic", "Armenian", "Cyrillic", "Georgian", "Greek", "Hebrew", "Latin"})
#: Languages whose digits are not 0 to 9 in texts of their own.
OWN_DIGITS = frozenset({"ar", "as", "bn", "fa", "hi", "mr", "my", "ne", "ps", "ur"})


@dataclass(frozen=True)
class LanguageSupport:
    """What there is for a language; empty values are what is missing."""

    code: str
    """ISO 639 code, as fastText's lid.176 has it."""
    name: str
    opus: str = ""
    """Subset of OPUS-100 with English."""
    teacher: bool = False
    """Whether the teacher of the paper supports it."""
    detected: bool = True
    """Whether its texts are detected by the model of languages."""
    tasks: tuple[str, ...] = ()
    """Tasks of lm-eval in this language."""

    @property
    def scripts(self) -> tuple[str, ...]:
        """Unicode names of its scripts; empty if not listed."""
        return script_names(self.code)

    @property
    def has_known_lengths(self) -> bool:
        """Whether translations from English have about as many letters as their sources."""
        return bool(self.scripts) and set(self.scripts) <= ALPHABETS


@dataclass(frozen=True)
class LanguageGap:
    """Something that is missing for a language, what that costs, and what to do."""

    missing: str
    cost: str
    fix: str


@cache
def languages() -> dict[str, LanguageSupport]:
    """All listed languages by code."""
    table = read_toml(Path(__file__).with_name("languages.toml"))
    return {
        code: LanguageSupport(code, **{**row, "tasks": tuple(row.get("tasks", ()))})
        for code, row in table.items()
    }


def find_language(key: str, code: str) -> LanguageSupport:
    """The language of an argument `key=code`. Raises: UserError with the closest known code."""
    known = languages() | {"en": LanguageSupport("en", "English")}
    found = known.get(primary_subtag(code))
    if found is None:
        hint = suggest_name(code.lower(), list(known), "codes")
        raise UserError(
            f"{key}={code}: no such language in the table: write an ISO 639 code; {hint}"
        )
    return found


def find_gaps(language: LanguageSupport) -> Iterator[LanguageGap]:
    """What is missing in the checks of a translation into a language."""
    code, name = language.code, language.name
    if not language.scripts:
        yield LanguageGap(
            f"the script of {name} is not listed",
            "text left in another script is not found",
            "read samples of output/part-*.parquet",
        )
    if not language.detected:
        yield LanguageGap(
            f"{name} is not known to the language model lid.176",
            "text in another language of the same script is not found, but copies are",
            "read samples of output/part-*.parquet",
        )
    if code not in MEASURED_LENGTHS:
        yield length_gap(language)
    if code not in KNOWN_PHRASES:
        yield LanguageGap(
            f"phrases of refusals and comments are known in English and Arabic, not in {name}",
            "an answer that refuses or comments in that language is not found",
            "let a judge filter the pairs, and read samples",
        )
    if code not in KNOWN_NUMBER_WORDS:
        yield LanguageGap(
            f"number words of {name} are not known",
            "a number that the translation writes as a word may be rejected as lost",
            "look at the share of `numbers` in a rehearsal",
        )


def length_gap(language: LanguageSupport) -> LanguageGap:
    """The bounds of lengths were not measured for a language."""
    if language.has_known_lengths:
        return LanguageGap(
            f"ratios of lengths were measured for Arabic, not for {language.name}",
            "more or fewer translations than 1 % may be rejected as length_ratio",
            "look at the share of `length_ratio` in a rehearsal, then set checks.max_length_ratio",
        )
    return LanguageGap(
        f"ratios of letters between English and {language.name} are not known",
        "translations that were cut or padded are not found by their length",
        "measure the ratio on pairs, then set checks.min_length_ratio and max_length_ratio",
    )


def find_test_gaps(language: LanguageSupport) -> Iterator[LanguageGap]:
    """What is missing to evaluate a language."""
    if language.code != "ar" and not any(one.startswith("include_") for one in language.tasks):
        yield LanguageGap(
            f"no exam written in {language.name} is among the tasks of lm-eval",
            "scores are those of translated questions, which favour what translators write",
            "add questions of your own: include_path of evaluate",
        )
    if not language.tasks:
        yield LanguageGap(
            f"lm-eval has no task in {language.name}",
            "only translations are scored",
            "add questions of your own: include_path of evaluate",
        )
