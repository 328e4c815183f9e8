"""Format a table for a terminal.

Written by hand: importing the library for it (tabulate) took a tenth of the time within which a
login node has to answer.
"""

from collections.abc import Sequence


def text_table(rows: Sequence[Sequence[str]], heads: Sequence[str]) -> str:
    """Format columns under their headings; columns that hold only numbers are right-aligned."""
    columns = list(zip(heads, *rows, strict=True))
    widths = [max(map(len, cells)) for cells in columns]
    to_right = [bool(rows) and all(map(is_number, cells[1:])) for cells in columns]
    lines = [list(heads), ["-" * width for width in widths], *map(list, rows)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(cells, widths, to_right, strict=True)
        ).rstrip()
        for cells in lines
    )


def is_number(cell: str) -> bool:
    """Whether a cell holds a number, or a dash for none."""
    return cell == "-" or cell.replace(".", "", 1).isdigit()
