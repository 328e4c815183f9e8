"""Whether what a model wrote is a translation of what it was given."""

from collections.abc import Callable

from hala_hpc.data.checks import language, refusals
from hala_hpc.data.checks.glossary import lacks_wanted_word
from hala_hpc.data.checks.length import is_empty, is_wrong_length
from hala_hpc.data.checks.markup import wrong_markup, wrong_placeholders
from hala_hpc.data.checks.numbers import wrong_numbers
from hala_hpc.data.checks.repetition import is_repetitive
from hala_hpc.data.checks.settings import CheckSettings, Reason
from hala_hpc.data.checks.views import Sides, Text
from hala_hpc.data.text.language import Languages


class OutputChecks:
    """Looks for the faults of a translation: those of a model, not those of style."""

    def __init__(self, settings: CheckSettings, source_language: str, target_language: str) -> None:
        self._settings = settings
        self._languages_of_sides = source_language, target_language
        self._languages = Languages()
        every: dict[Reason, Callable[[Sides], bool]] = {
            "empty": is_empty,
            "template_leak": refusals.leaks_template,
            "refusal": refusals.is_refusal,
            "comment": refusals.has_comment,
            "copied": language.is_copied,
            "wrong_language": self._is_wrong_language,
            "script": self._is_mixed,
            "repetition": lambda sides: is_repetitive(sides, settings.most_repeats),
            "placeholders": wrong_placeholders,
            "markup": wrong_markup,
            "numbers": wrong_numbers,
            "wanted_words": lambda sides: lacks_wanted_word(sides, settings.wanted_words),
            "length_ratio": lambda sides: is_wrong_length(sides, settings),
        }
        self._checks = {
            reason: check for reason, check in every.items() if reason not in settings.skip
        }

    def fault(self, source: str, translation: str) -> str:
        """The reason why a translation is not good, "" when nothing is wrong with it.

        The first of several reasons, in the order of `check_settings.Reason`. A translation that
        was cut by length is not told here: the engine knows it.
        """
        spoken, target = self._languages_of_sides
        sides = Sides(Text(source, spoken), Text(translation, target))
        for reason, is_faulty in self._checks.items():
            if is_faulty(sides):
                return reason
        return ""

    def _is_wrong_language(self, sides: Sides) -> bool:
        return language.is_wrong_language(sides, self._languages)

    def _is_mixed(self, sides: Sides) -> bool:
        settings = self._settings
        return language.is_mixed(
            sides, settings.least_script_share, settings.most_untranslated_words
        )
