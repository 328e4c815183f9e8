"""Whether a translation has the structure of its source."""

from hala_hpc.data.checks.views import Sides
from hala_hpc.data.segmentation.alignment import StructureFault


def adds_lines(sides: Sides) -> bool:
    """Whether a source of one line has a translation of several.

    A line end between two of its sentences, or where a long line was wrapped, is no fault.
    """
    return sides.structure_fault is StructureFault.ADDED_LINES


def breaks_structure(sides: Sides) -> bool:
    """Whether paragraphs, lines, list markers, headings or cells differ, or a span was moved."""
    return sides.structure_fault not in (None, StructureFault.ADDED_LINES)
