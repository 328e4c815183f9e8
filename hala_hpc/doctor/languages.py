"""Findings about the languages of a recipe: what is missing for a translation into each."""

from collections.abc import Iterable, Iterator

from hala_hpc.commands.planning.plan import Step
from hala_hpc.core.errors import UserError
from hala_hpc.data.text.language_support import LanguageGap, find_gaps, find_language
from hala_hpc.data.text.scripts import primary_subtag
from hala_hpc.doctor.findings import Finding


def language_findings(steps: Iterable[Step]) -> Iterator[Finding]:
    """A warning for each gap of a language that a node translates into.

    A setting that already allows for it is not known here: the warning names its effect.
    """
    targets: dict[str, list[str]] = {}
    for step in steps:
        if step.node.stage.name == "translate":
            code = primary_subtag(str(getattr(step.node.settings, "target", "")))
            targets.setdefault(code, []).append(step.name)
    for code, nodes in targets.items():
        for gap in list_gaps(code):
            what = f"{', '.join(nodes)}: {gap.missing}"
            yield Finding("languages", "warn", what, gap.cost, gap.fix)


def list_gaps(code: str) -> list[LanguageGap]:
    """What is missing for a language; one gap for one that is not in the table."""
    try:
        return list(find_gaps(find_language("target", code)))
    except UserError:
        missing = f"the language {code!r} is not in the table of languages"
        fix = "read samples of a rehearsal (rehearse=true)"
        return [LanguageGap(missing, "what the checks find in it is unknown", fix)]
