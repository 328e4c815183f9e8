"""What columns of spilled rows say about each row: whether it can be used, and its id."""

from typing import Any


def is_good(table: Any) -> Any:
    """Return a mask of the rows of a split that could be read and are not excluded."""
    import pyarrow.compute as pc

    return pc.equal(table["reason"], "").to_numpy()


def row_ids(table: Any) -> Any:
    """Return the ids of the rows of a split, two numbers each; undefined for rejected rows."""
    import numpy as np

    column = table["id"].combine_chunks()
    numbers = np.frombuffer(column.buffers()[1], "<u8").reshape(-1, 2)
    return numbers[column.offset : column.offset + len(column)]
