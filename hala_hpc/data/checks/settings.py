"""What a translation is checked for, and how strictly."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

#: Every check of a translation, in the order in which they are made: the reason that it gives, and
#: the module of this folder with its function. Names, so that a launch loads none of them.
CHECKS = {
    "empty": "length.is_empty",
    "template_leak": "refusals.leaks_template",
    "refusal": "refusals.is_refusal",
    "comment": "refusals.has_comment",
    "copied": "language.is_copied",
    "wrong_language": "language.is_wrong_language",
    "script": "language.is_mixed",
    "repetition": "repetition.is_repetitive",
    "placeholders": "markup.wrong_placeholders",
    "markup": "markup.wrong_markup",
    "numbers": "numbers.wrong_numbers",
    "glossary": "glossary.lacks_glossary_term",
    "length_ratio": "length.is_wrong_length",
}
if TYPE_CHECKING:
    Reason = str
else:
    Reason = Literal[tuple(CHECKS)]
Digits = Literal["keep", "western", "arabic_indic"]
Share = Annotated[float, Field(ge=0, le=1)]


class CheckSettings(BaseModel):
    """The checks of a translation's output. The bounds were set on human translations.

    Those were 2,600 messages of programs from English into Arabic; `python -m benchmarks.defects`
    counts what the defaults find and what they report wrongly, on the messages left out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    disabled: list[Reason] = []
    """Checks that are not made, by the reason they would give."""
    min_length_ratio: PositiveFloat = 0.65
    """Letters of a translation per letter of its source at least, where one Arabic letter counts
    as 1.19 English ones. So counted human translations have 1.0, and from 80 letters on 99 % of
    them are between 0.61 and 1.47."""
    max_length_ratio: PositiveFloat = 1.5
    """Letters of a translation per letter of its source at most, counted in the same way."""
    length_slack: PositiveInt = 18
    """Letters that may be missing besides, and by which every source is taken as longer: a short
    text is one long word as often as three short ones."""
    min_script_share: Share = 0.5
    """Share of the letters in the target's script, not counting names and abbreviations. Less is
    text left in another language."""
    max_untranslated_words: PositiveInt = 4
    """Words in a row that may stay in another script, where they are more than names."""
    max_repeats: PositiveInt = 2
    """How often a phrase may follow itself, where its source does not repeat as often."""
    glossary: dict[str, str] = {}
    """Word of the source and what must stand for it in the translation, e.g. a name in Arabic
    letters."""
    digits: Digits = "keep"
    """Digits of the translation: as they come, 0123 or ٠١٢٣; never changed in code, formulas,
    addresses, tags and placeholders."""
