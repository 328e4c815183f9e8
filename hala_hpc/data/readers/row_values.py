"""Values of a row: texts that must be there, texts that may be absent, numbers in their place."""

import json
from math import isnan
from typing import Any

from hala_hpc.data.corpus.reader import Row


class RowError(Exception):
    """A row that cannot be used; the text of the exception is the reason."""


def required_text(row: Row, name: str) -> str:
    """Return a text that must be present and not blank."""
    text = row.get(name)
    if isinstance(text, str) and text and not text.isspace():
        return text
    if text is None:
        raise RowError("missing-field")
    if isinstance(text, str):
        raise RowError("empty-text")
    return number_text(text)


def optional_text(row: Row, name: str) -> str:
    """Return a text that may be absent or blank; "" in that case."""
    text = row.get(name)
    if not text and (text is None or isinstance(text, str)):
        return ""
    if isinstance(text, float) and isnan(text):
        return ""
    if not isinstance(text, str):
        return number_text(text)
    return "" if text.isspace() else text


def number_text(value: Any) -> str:
    """Return a number that stands in the place of a text as JSON writes it.

    Raises: RowError for other values; not-a-number is how some libraries write null.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RowError("wrong-type")
    if isnan(value):
        raise RowError("missing-field")
    return json.dumps(value)


def present(row: Row, name: str, other: str) -> str:
    """Return the first name, or the other one if only that has a value; null is absence."""
    return other if row.get(name) is None and row.get(other) is not None else name
