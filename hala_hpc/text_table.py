"""A table of plain text. For what must answer at once: a library for it takes 15 ms to import."""

from collections.abc import Sequence


def text_table(rows: Sequence[Sequence[str]], head: Sequence[str]) -> str:
    """Columns two spaces apart under their heads; columns of numbers are flush to the right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    cells = list(zip(*rows, strict=True)) or [()] * len(head)
    right = [all(is_number(cell) for cell in column) for column in cells]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if flush else cell.ljust(width)
            for cell, width, flush in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    )


def is_number(cell: str) -> bool:
    """Whether a cell is a number, known or not, perhaps with a unit: `~1,400`, `37 s`, `-`, `?`."""
    return cell in ("-", "?") or (cell.lstrip("~")[:1].isdigit() and cell.count(" ") < 2)
