"""Whether too many rows of a tokens product are rejected, and the errors of the chat template."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from hala_hpc.core.errors import BAD_DATA, UserError
from hala_hpc.core.records import UnitMarker
from hala_hpc.engines.training.tokens.pair_choice import REPEATED, UNTRANSLATED
from hala_hpc.engines.training.tokens.product import UnitFiles, read_notes
from hala_hpc.engines.training.tokens.rows import WEIGHT

#: Rejections that the settings ask for, or that translated rows always have.
EXPECTED_TOKEN_REASONS = {WEIGHT, UNTRANSLATED, REPEATED}
#: Errors of a template that are listed, the most frequent first.
LISTED_ERRORS = 3
#: Advice by reason.
FIXES = {
    "refused_by_template": 'set system_prompt = "user" if the template has no system turns',
    "left_out_by_template": 'set system_prompt = "user" if the template has no system turns',
    "too_long": 'raise max_length or set long_rows = "split"',
    "tool_calls_not_in_template": 'set tool_use = "reject" in prepare, or use a model with tools',
    "tools_not_in_template": 'set tool_use = "reject" in prepare, or use a model with tools',
}


def require_few_rejected(
    markers: Sequence[UnitMarker], folders: Sequence[Path], max_fraction: float
) -> None:
    """Check the fraction of rejected rows. Raises: UserError (BAD_DATA) if it is too large."""
    reasons = sum((Counter(marker.rejected) for marker in markers), Counter[str]())
    bad = Counter({r: number for r, number in reasons.items() if r not in EXPECTED_TOKEN_REASONS})
    rows = sum(marker.rows_in for marker in markers)
    if bad.total() <= max_fraction * rows:
        return
    listing = ", ".join(f"{reason} {number}" for reason, number in bad.most_common())
    fixes = dict.fromkeys(FIXES[reason] for reason, _ in bad.most_common() if reason in FIXES)
    raise UserError(
        f"max_rejected_fraction={max_fraction}: {bad.total()} of {rows} rows are rejected "
        f"({listing}){describe_template_errors(folders)}; "
        f"{'; '.join([*fixes, 'or raise max_rejected_fraction to train on the other rows'])}",
        BAD_DATA,
    )


def describe_template_errors(folders: Sequence[Path]) -> str:
    """Return the errors of the chat template, for a message; "" if there are none."""
    errors: Counter[str] = Counter()
    for unit, folder in enumerate(folders):
        errors.update(read_notes(UnitFiles(folder, unit)).template_errors)
    texts = [f"{text!r} ({number} rows)" for text, number in errors.most_common(LISTED_ERRORS)]
    return f"; errors of the chat template: {', '.join(texts)}" if texts else ""
