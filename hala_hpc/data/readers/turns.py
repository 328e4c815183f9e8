"""Read a turn of a conversation: role, content, whether it is learned, tool calls and results.

The reasons for rejecting a row are those of `row_values`, and unknown-role, tool-use, wrong-weight,
bad-tool-call, bad-tools and part-NAME for a part of the content that is no text, such as
part-image_url.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from hala_hpc.data.corpus.messages import NO_FIELDS, TOOLS, MessageFields
from hala_hpc.data.corpus.reader import Row
from hala_hpc.data.readers.row_values import RowError, optional_text, present, required_text

Role = Literal["system", "user", "assistant", "tool"]
ToolUse = Literal["keep", "reject"]

#: Role of a turn whose text is the JSON of a tool call.
CALL = "call"
ROLES = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bing", "bard", "model", "bot"), "assistant"),
    **dict.fromkeys(("tool", "tool_response", "tool_result", "ipython"), "tool"),
    **dict.fromkeys(("function", "function_response", "function_result", "observation"), "tool"),
    **dict.fromkeys(("tool_call", "function_call"), CALL),
}
#: Types of the parts of a content that are text.
TEXT_PARTS = {"text", "input_text", "output_text"}
#: Fields that say whether a turn is learned; by `masked` of torchtune, a mask leaves it out.
LEARNED, LEFT_OUT = ("weight", "train"), ("mask", "masked")
#: Characters of a part's type in a reason.
PART_CHARACTERS = 30


@dataclass(frozen=True)
class TurnRules:
    """The settings that say how turns are read."""

    role_names: Mapping[str, Role] = field(default_factory=dict)
    """Maps names of roles in the data to roles; these come before the names that are known."""
    tool_use: ToolUse = "keep"

    def find_role(self, name: str) -> str:
        """Return the role of a name. Raises: RowError (unknown-role)."""
        plain = normalize_role(name)
        for given, role in self.role_names.items():
            if plain == normalize_role(given):
                return role
        if plain not in ROLES:
            raise RowError("unknown-role")
        return ROLES[plain]


class Turn(NamedTuple):
    """One message of a conversation."""

    role: str
    text: str
    """Empty for a blank system prompt or result, and where a turn only calls tools."""
    fields: MessageFields = NO_FIELDS


def normalize_role(name: str) -> str:
    """Return a name of a role in small letters, without blanks around it, with `_` inside."""
    return "_".join(name.replace("-", " ").lower().split())


def read_turn(turn: Any, rules: TurnRules) -> Turn:
    """Read `role` and `content`, or `from` and `value`, and the other fields of a turn."""
    if not isinstance(turn, dict):
        raise RowError("wrong-type")
    role_name = required_text(turn, present(turn, "role", "from"))
    role = ROLES.get(role_name) if not rules.role_names else None
    role = role or rules.find_role(role_name)
    content = present(turn, "content", "value")
    calls = "" if role == "tool" else read_calls(turn)
    if role == CALL:
        role, calls, turn = (
            "assistant",
            calls or read_call_text(turn, content),
            {**turn, content: ""},
        )
    if rules.tool_use == "reject" and (calls or role == "tool"):
        raise RowError("tool-use")
    return Turn(
        role, read_turn_text(turn, content, role, bool(calls)), read_fields(turn, role, calls)
    )


def read_turn_text(turn: Row, name: str, role: str, calls_tools: bool) -> str:
    """Return the text of a turn; a list of text parts is joined by line ends."""
    value = turn.get(name)
    if isinstance(value, dict | list) and role == "tool" and not is_parts(value):
        # A result that is an object, and not its text.
        return format_json(value)
    if isinstance(value, list):
        turn = {name: join_parts(value)}
    if role in ("system", "tool") or calls_tools:
        return optional_text(turn, name)
    return required_text(turn, name)


def is_parts(value: Any) -> bool:
    """Whether a value is a list of parts of a content."""
    return isinstance(value, list) and all(
        isinstance(part, dict) and isinstance(part.get("type"), str) for part in value
    )


def join_parts(parts: list[Any]) -> str:
    """Join the parts of a content. Raises: RowError naming a part that is no text."""
    texts = []
    for part in parts:
        if isinstance(part, str):
            texts.append(part)
            continue
        if not isinstance(part, dict):
            raise RowError("wrong-type")
        kind, text = part.get("type"), part.get("text")
        if not (kind in TEXT_PARTS or kind is None) or not isinstance(text, str | None):
            plain = re.sub(r"[^a-z0-9_]+", "-", str(kind).lower())[:PART_CHARACTERS]
            raise RowError(f"part-{plain}")
        texts.append(text or "")
    return "\n".join(text for text in texts if text)


def read_fields(turn: Row, role: str, calls: str) -> MessageFields:
    """Return what a turn has beside role and text."""
    weight = read_weight(turn) if role == "assistant" else None
    call_id = read_name(turn, "tool_call_id") if role == "tool" else None
    name = read_name(turn, "name")
    if weight is None and not calls and call_id is None and name is None:
        return NO_FIELDS
    return MessageFields(weight, calls or None, call_id, name)


def read_name(turn: Row, field_name: str) -> str | None:
    """Return a field that is a name; None if it is absent or blank."""
    value = turn.get(field_name)
    return value if isinstance(value, str) and value.strip() else None


def read_weight(turn: Row) -> float | None:
    """Return 0 for an answer that is not learned, else None. Raises: RowError (wrong-weight)."""
    weight = None
    for name, learned in (*((n, 1) for n in LEARNED), *((n, 0) for n in LEFT_OUT)):
        value = turn.get(name)
        if value is None:
            continue
        if not isinstance(value, bool | int | float) or value not in (0, 1):
            raise RowError("wrong-weight")
        if value != learned:
            weight = 0.0
    return weight


def read_calls(turn: Row) -> str:
    """Return the calls of `tool_calls`, or of `function_call`, as JSON text; "" if none."""
    calls = turn.get("tool_calls") or turn.get("function_call")
    return format_calls(calls) if calls else ""


def read_call_text(turn: Row, name: str) -> str:
    """Return the calls that are the text of a turn."""
    value = turn.get(name)
    return format_calls(required_text(turn, name) if value is None else value)


def format_calls(value: Any) -> str:
    """Format calls as JSON text, each in one form. Raises: RowError (bad-tool-call)."""
    calls = decode(value, "bad-tool-call")
    calls = calls if isinstance(calls, list) else [calls]
    if not calls:
        raise RowError("bad-tool-call")
    return format_json([format_call(decode(call, "bad-tool-call")) for call in calls])


def format_call(call: Any) -> dict[str, Any]:
    """Return a call with its function and its arguments as an object."""
    if not isinstance(call, dict):
        raise RowError("bad-tool-call")
    function = call["function"] if call.get("function") is not None else call
    if not isinstance(function, dict) or not read_name(function, "name"):
        raise RowError("bad-tool-call")
    given = function.get(present(function, "arguments", "parameters"))
    arguments = decode(given, "bad-tool-call") if given not in (None, "") else {}
    if not isinstance(arguments, dict):
        raise RowError("bad-tool-call")
    call_id = read_name(call, "id")
    return {
        **({"id": call_id} if call_id else {}),
        "type": "function",
        "function": {"name": function["name"], "arguments": arguments},
    }


def read_tools(row: Row, calls_tools: bool) -> str:
    """Return the tools of a conversation, of `tools` or `functions`, as JSON text; "" if none.

    Raises: RowError (bad-tools) if they cannot be read and are called; a column of that name may
    hold something else in rows that call none.
    """
    value = row.get(TOOLS) or row.get("functions")
    if not value:
        return ""
    try:
        tools = decode(value, "bad-tools")
        tools = [format_tool(decode(tool, "bad-tools")) for tool in tools]
    except (RowError, TypeError):
        if calls_tools:
            raise RowError("bad-tools") from None
        return ""
    return format_json(tools) if tools else ""


def format_tool(tool: Any) -> dict[str, Any]:
    """Return the description of a tool as chat templates expect it."""
    function = tool.get("function") if isinstance(tool, dict) else None
    bare = tool if function is None else function
    if not isinstance(bare, dict) or not read_name(bare, "name"):
        raise RowError("bad-tools")
    return {"type": "function", "function": tool} if function is None else dict(tool)


def decode(value: Any, reason: str) -> Any:
    """Decode a value that may be JSON text. Raises: RowError with the reason."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise RowError(reason) from None


def format_json(value: Any) -> str:
    """Format a value as JSON; types that JSON lacks become text. Raises: RowError (wrong-type)."""
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except (ValueError, RecursionError):
        raise RowError("wrong-type") from None
