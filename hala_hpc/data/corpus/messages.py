"""The schema of a message: role and content, and fields that few messages have.

A corpus has the columns of these fields only if one of its rows needs them; in a row that is read,
a message has the keys of those that it has. The column `tools` of a row is JSON text: the list of
the tools that its conversation may call.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple


class MessageFields(NamedTuple):
    """What a message has beside role and content; None is absence."""

    weight: float | None = None
    """0 for an answer that is context and not learned; else absent."""
    tool_calls: str | None = None
    """JSON text: the list of calls, each `{"type": "function", "function": {"name", "arguments"}}`
    with an `id` if it has one."""
    tool_call_id: str | None = None
    """Of a result: the id of its call."""
    name: str | None = None
    """Of a result: the name of its tool; of another message: the name of who wrote it."""


#: A message with role and content alone.
NO_FIELDS = MessageFields()
#: Column of a row with the tools of its conversation.
TOOLS = "tools"
#: The Arrow types of the fields.
FIELD_TYPES = {
    "weight": "float64",
    **dict.fromkeys(("tool_calls", "tool_call_id", "name"), "string"),
}


def format_fields(fields: Iterable[Sequence[Any]], tools: str) -> str:
    """Return the fields of the messages of a row as JSON for its id; "" if there are none."""
    found = [
        [number, *values]
        for number, values in enumerate(fields)
        if any(value is not None for value in values)
    ]
    return json.dumps([tools, found], ensure_ascii=False) if found or tools else ""


def drop_absent(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message without the fields that it does not have."""
    return {name: value for name, value in message.items() if value is not None}


def replace_content(message: Mapping[str, Any], content: str) -> dict[str, Any]:
    """Return a message with another content and all its other fields."""
    return {**message, "content": content}


def is_context(message: Mapping[str, Any]) -> bool:
    """Whether an answer is context that is not learned."""
    return message.get("weight") == 0
