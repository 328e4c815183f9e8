"""Settings of the checks of a translation, and the list of checks."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

#: Every check of a translation in the order of execution: its reason, and the module of this folder
#: with its function. These are names, so that a launch imports none of the modules.
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
    "lines": "structure.adds_lines",
    "structure": "structure.breaks_structure",
    "numbers": "numbers.wrong_numbers",
    "glossary": "glossary.lacks_glossary_term",
    "length_ratio": "length.is_wrong_length",
}
if TYPE_CHECKING:
    Reason = str
else:
    Reason = Literal[tuple(CHECKS)]
Digits = Literal["keep", "western", "arabic_indic"]
#: What is done with a text that is not in the language of the corpus; `drop` rejects its row.
ForeignTextPolicy = Literal["keep", "drop", "translate"]
Share = Annotated[float, Field(ge=0, le=1)]


class CheckSettings(BaseModel):
    """Checks of a translation. The default bounds were set on human translations.

    Those were 2,600 program messages translated from English into Arabic. `python -m
    benchmarks.defects` measures detections and false alarms of the defaults on the other messages.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    disabled: list[Reason] = []
    """Checks that are not made, by their reason."""
    min_length_ratio: PositiveFloat = 0.65
    """Minimum ratio of letters of a translation to letters of its source. One Arabic letter counts
    as 1.19 English ones. Human translations have a ratio of 1.0, and 99 % of those from 80 letters
    on are between 0.61 and 1.47."""
    max_length_ratio: PositiveFloat = 1.5
    """Maximum ratio of letters of a translation to letters of its source, counted the same way."""
    length_slack: PositiveInt = 18
    """Letters that may be missing in addition, and that are added to the length of every source. A
    short text is as often one long word as three short ones."""
    min_script_share: Share = 0.5
    """Minimum share of letters in the target's script, without names and abbreviations. Below it,
    text was left in another language."""
    max_untranslated_words: PositiveInt = 4
    """Maximum number of consecutive words in another script, unless they are only names."""
    max_repeats: PositiveInt = 2
    """Maximum number of times that a phrase may follow itself, unless its source does as well."""
    glossary: dict[str, str] = {}
    """Terms of the source and their required translation, e.g. a name in Arabic letters. A prompt
    with the placeholder {glossary} gets those that occur in its text, one `term = translation` on
    each line."""
    digits: Digits = "keep"
    """Digits of the translation: as the model writes them, 0123 or ٠١٢٣. Code, formulas, addresses,
    tags and placeholders are never changed."""
