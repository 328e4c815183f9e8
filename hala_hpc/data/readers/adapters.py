"""Adapters that map the row formats of public data sets to conversations and pairs.

The reasons for rejecting a row are missing-field, wrong-type, empty-text, unknown-role, tool-use,
no-answer, nul and lone-surrogate.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from math import isnan
from typing import Any, NamedTuple

from hala_hpc.data.corpus.reader import Kind, Row

#: Fields that hold a list of turns; the adapter `messages` uses the first.
LISTS = ("messages", "conversations", "conversation")
LanguagePair = tuple[str, str]
Texts = tuple[list[str], list[str]]
"""Roles and texts of a conversation in order; for a pair no roles and two texts."""

ROLES = {
    "system": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
}


#: Roles of tool calls and tool results.
TOOL_ROLES = {
    "tool",
    "tool_call",
    "tool_response",
    "function",
    "function_call",
    "function_response",
    "ipython",
    "observation",
}
#: Fields of a turn that calls a tool; the content of such a turn may be absent.
CALLS = ("tool_calls", "function_call")


class RowError(Exception):
    """A row that cannot be used; the text of the exception is the reason."""


class QuestionFields(NamedTuple):
    """Names of the fields of a question and its answer.

    `more`, whose text is appended to the question, and `system` may be absent.
    """

    question: str
    answer: str
    more: str
    system: str


@dataclass(frozen=True)
class Adapter:
    """One row format: the fields that identify it, and the function that reads its texts."""

    name: str
    kind: Kind
    fields: str
    """The required fields, for messages."""
    fits: Callable[[Row], bool]
    read: Callable[[Row], Texts]
    question: QuestionFields | None = None
    """Set if a row is one question and one answer; such rows can be read in batches."""


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


def turns(system: str, user: str, assistant: str) -> Texts:
    """Build a conversation of one question and its answer."""
    if system:
        return ["system", "user", "assistant"], [system, user, assistant]
    return ["user", "assistant"], [user, assistant]


ALPACA = QuestionFields("instruction", "output", "input", "system")
PROMPT = QuestionFields("prompt", "completion", "", "system")
OPENORCA = QuestionFields("question", "response", "", "system_prompt")


def read_question(fields: QuestionFields, row: Row) -> Texts:
    """Read a conversation of a question, with `more` after a blank line, and its answer."""
    question = required_text(row, fields.question)
    if fields.more and (more := optional_text(row, fields.more)):
        question = f"{question}\n\n{more}"
    return turns(optional_text(row, fields.system), question, required_text(row, fields.answer))


def read_messages(row: Row) -> Texts:
    """Read a list of turns with `role` and `content`, or `from` and `value`."""
    listing = next((row[name] for name in LISTS if row.get(name) is not None), None)
    if isinstance(listing, str):
        listing = decode_listing(listing)
    if listing is None:
        raise RowError("missing-field")
    if not isinstance(listing, list):
        raise RowError("wrong-type")
    # Many data sets carry a blank system prompt; it is dropped.
    messages = [(role, text) for role, text in map(read_turn, listing) if text]
    system = optional_text(row, "system")
    if system and (not messages or messages[0][0] != "system"):
        messages.insert(0, ("system", system))
    roles = [role for role, _ in messages]
    if "user" not in roles or "assistant" not in roles:
        raise RowError("no-answer")
    return roles, [text for _, text in messages]


def decode_listing(text: str) -> Any:
    """Decode a conversation that is stored as JSON text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise RowError("wrong-type") from None


def read_turn(turn: Any) -> tuple[str, str]:
    """Return role and text of one turn; the text of a system prompt may be empty."""
    if not isinstance(turn, dict):
        raise RowError("wrong-type")
    role_name = required_text(turn, present(turn, "role", "from")).lower()
    role = ROLES.get(role_name)
    if role_name in TOOL_ROLES or any(turn.get(field) for field in CALLS):
        raise RowError("tool-use")
    if role is None:
        raise RowError("unknown-role")
    name = present(turn, "content", "value")
    return role, optional_text(turn, name) if role == "system" else required_text(turn, name)


def present(row: Row, name: str, other: str) -> str:
    """Return the first name, or the other one if only that has a value; null is absence."""
    return other if row.get(name) is None and row.get(other) is not None else name


def read_prompt(row: Row) -> Texts:
    """Read prompt and completion: texts, or two lists of turns."""
    prompt, completion = row.get("prompt"), row.get("completion")
    if isinstance(prompt, list) and isinstance(completion, list):
        return read_messages({"messages": prompt + completion, "system": row.get("system")})
    return read_question(PROMPT, row)


def read_opus(languages: LanguagePair, row: Row) -> Texts:
    """Read `translation` with a text per language, a column per language, or source and target."""
    texts = row if row.get("translation") is None else row["translation"]
    if not isinstance(texts, dict):
        raise RowError("wrong-type")
    names = (
        languages
        if any(texts.get(name) is not None for name in languages)
        else ("source", "target")
    )
    return [], [required_text(texts, names[0]), required_text(texts, names[1])]


def fits_opus(languages: LanguagePair, row: Row) -> bool:
    """Whether a row has texts in both languages."""
    texts = row if row.get("translation") is None else row["translation"]
    return isinstance(texts, dict) and any(
        set(names) <= texts.keys() for names in (languages, ("source", "target"))
    )


def fits_sharegpt(row: Row) -> bool:
    """Whether a row has a list of turns under one of ShareGPT's field names."""
    return any(row.get(name) is not None for name in LISTS[1:])


def has(*names: str) -> Callable[[Row], bool]:
    """Return a predicate for rows that have all of these fields; null is absence."""
    return lambda row: all(row.get(name) is not None for name in names)


def build_adapters(languages: LanguagePair) -> dict[str, Adapter]:
    """Return all adapters by name, in the order in which `auto` tries them."""
    conversations: Kind = "conversations"
    opus = partial(fits_opus, languages), partial(read_opus, languages)
    opus_fields = f"translation with {' and '.join(languages)}, or source, target"
    all_of_them = (
        Adapter("messages", conversations, "messages", has("messages"), read_messages),
        Adapter("sharegpt", conversations, "conversations", fits_sharegpt, read_messages),
        question_adapter("openorca", OPENORCA),
        question_adapter("alpaca", ALPACA),
        Adapter("prompt", conversations, "prompt, completion", has(*PROMPT[:2]), read_prompt),
        Adapter("opus", "pairs", opus_fields, *opus),
    )
    return {adapter.name: adapter for adapter in all_of_them}


def question_adapter(name: str, fields: QuestionFields) -> Adapter:
    """Make the adapter of rows with one question and one answer."""
    needed = fields.question, fields.answer
    read = partial(read_question, fields)
    return Adapter(name, "conversations", ", ".join(needed), has(*needed), read, fields)


def find_adapter(rows: Iterable[Row], wanted: str, languages: LanguagePair) -> Adapter | None:
    """Return the first adapter that fits one of the rows: `wanted`, or any with `auto`."""
    known = build_adapters(languages)
    tried = list(known.values()) if wanted == "auto" else [known[wanted]]
    return next((adapter for row in rows for adapter in tried if adapter.fits(row)), None)


def describe_adapters(languages: LanguagePair) -> str:
    """List the adapters and their required fields for a message."""
    return "; ".join(
        f"{known.name} ({known.fields})" for known in build_adapters(languages).values()
    )


def compute_row_digest(roles: Sequence[str], texts: Sequence[str]) -> tuple[bytes, int]:
    """Return the 16-byte row id, a hash of roles and texts, and the number of bytes hashed.

    Raises: RowError if a text has a NUL or a lone surrogate.
    """
    # No text is empty or contains NUL, so different rows give different joined strings.
    joined = "\0".join([*roles, "", *texts])
    if joined.count("\0") != len(roles) + len(texts):
        raise RowError("nul")
    try:
        data = joined.encode()
    except UnicodeEncodeError as error:
        raise RowError("lone-surrogate") from error
    return hashlib.blake2b(data, digest_size=16).digest(), len(data)
