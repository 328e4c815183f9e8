"""Whether the output of a model is a translation of its input."""

from collections.abc import Callable
from importlib import import_module

from hala_hpc.data.checks.settings import CHECKS, CheckSettings
from hala_hpc.data.checks.views import Sides, Text


class OutputChecks:
    """Runs the checks of a translation: they find faults of a model, not of style."""

    def __init__(self, settings: CheckSettings, source_language: str, target_language: str) -> None:
        self._settings = settings
        self._languages = source_language, target_language
        self._checks = {
            reason: load_check(name)
            for reason, name in CHECKS.items()
            if reason not in settings.disabled
        }

    def fault(self, source: str, translation: str) -> str:
        """Return the reason why a translation is rejected, "" if all checks pass.

        It is the first reason in the order of `settings.CHECKS`. A truncated translation is not
        detected here: the engine reports it.
        """
        spoken, target = self._languages
        sides = Sides(Text(source, spoken), Text(translation, target), self._settings)
        for reason, is_faulty in self._checks.items():
            if is_faulty(sides):
                return reason
        return ""


def load_check(name: str) -> Callable[[Sides], bool]:
    """Import the check `module.function` of this folder; it returns whether there is a fault."""
    module, _, function = name.partition(".")
    check: Callable[[Sides], bool] = getattr(import_module(f"{__package__}.{module}"), function)
    return check
