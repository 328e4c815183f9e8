"""Whether a translation has more lines than its source."""

from hala_hpc.data.checks.views import Sides


def adds_lines(sides: Sides) -> bool:
    """Whether a translation has more lines than its source, blank ones aside.

    A segment is one line or a table cell by construction: a line break would end its line or row.
    """
    return _count_lines(sides.translation.text) > max(1, _count_lines(sides.source.text))


def _count_lines(text: str) -> int:
    return sum(1 for line in text.splitlines() if line.strip())
