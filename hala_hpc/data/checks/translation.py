"""Whether what a model wrote is a translation of what it was given."""

from collections.abc import Callable
from importlib import import_module

from hala_hpc.data.checks.settings import CHECKS, CheckSettings
from hala_hpc.data.checks.views import Sides, Text


class OutputChecks:
    """Looks for the faults of a translation: those of a model, not those of style."""

    def __init__(self, settings: CheckSettings, source_language: str, target_language: str) -> None:
        self._settings = settings
        self._languages = source_language, target_language
        self._checks = {
            reason: load_check(name)
            for reason, name in CHECKS.items()
            if reason not in settings.disabled
        }

    def fault(self, source: str, translation: str) -> str:
        """The reason why a translation is not good, "" when nothing is wrong with it.

        The first of several reasons, in the order of `settings.CHECKS`. A translation that was
        cut by length is not told here: the engine knows it.
        """
        spoken, target = self._languages
        sides = Sides(Text(source, spoken), Text(translation, target), self._settings)
        for reason, is_faulty in self._checks.items():
            if is_faulty(sides):
                return reason
        return ""


def load_check(name: str) -> Callable[[Sides], bool]:
    """The function `module.function` of this folder that says whether a translation is faulty."""
    module, _, function = name.partition(".")
    check: Callable[[Sides], bool] = getattr(import_module(f"{__package__}.{module}"), function)
    return check
