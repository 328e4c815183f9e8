"""From the row shapes of public data sets to conversations and pairs.

A row that cannot be used has one word why: missing-field, wrong-type, empty-text, unknown-role,
tool-use, no-answer, nul or lone-surrogate.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from hala_hpc.data.corpus.reader import Kind, Row

#: Fields that hold a list of turns; the first is that of the adapter `messages`.
LISTS = ("messages", "conversations", "conversation")
LanguagePair = tuple[str, str]
Texts = tuple[list[str], list[str]]
"""Roles and texts of a conversation in order; no roles and two texts of a pair."""

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


#: Roles of what a tool was asked and what it answered.
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
#: Fields of a turn that calls a tool; its content may be absent.
CALLS = ("tool_calls", "function_call")


class RowError(Exception):
    """A row that cannot be used; the text is one word why."""


class QuestionFields(NamedTuple):
    """Fields of a question and its answer; `more`, which follows the question, and `system` may be
    absent.
    """

    question: str
    answer: str
    more: str
    system: str


@dataclass(frozen=True)
class Adapter:
    """One row shape: the fields that tell it, and how its texts are read."""

    name: str
    kind: Kind
    fields: str
    """The fields it needs, for people."""
    fits: Callable[[Row], bool]
    read: Callable[[Row], Texts]
    question: QuestionFields | None = None
    """Where rows are one question and one answer: they can be read many at a time."""


def required_text(row: Row, name: str) -> str:
    """A text that must be there and not be blank."""
    text = row.get(name)
    if isinstance(text, str) and text and not text.isspace():
        return text
    if text is None:
        raise RowError("missing-field")
    raise RowError("empty-text" if isinstance(text, str) else "wrong-type")


def optional_text(row: Row, name: str) -> str:
    """A text that may be absent or blank; then it is empty."""
    text = row.get(name)
    if not text and (text is None or isinstance(text, str)):
        return ""
    if not isinstance(text, str):
        raise RowError("wrong-type")
    return "" if text.isspace() else text


def turns(system: str, user: str, assistant: str) -> Texts:
    """A conversation of one question and its answer."""
    if system:
        return ["system", "user", "assistant"], [system, user, assistant]
    return ["user", "assistant"], [user, assistant]


ALPACA = QuestionFields("instruction", "output", "input", "system")
OPENORCA = QuestionFields("question", "response", "", "system_prompt")


def read_question(fields: QuestionFields, row: Row) -> Texts:
    """A conversation of one question, with `more` after a blank line, and its answer."""
    question = required_text(row, fields.question)
    if fields.more and (more := optional_text(row, fields.more)):
        question = f"{question}\n\n{more}"
    return turns(optional_text(row, fields.system), question, required_text(row, fields.answer))


def read_messages(row: Row) -> Texts:
    """A list of turns, with `role` and `content` or `from` and `value`."""
    listing = next((row[name] for name in LISTS if row.get(name) is not None), None)
    if listing is None:
        raise RowError("missing-field")
    if not isinstance(listing, list):
        raise RowError("wrong-type")
    # A blank system prompt, which many data sets carry, is no message.
    messages = [(role, text) for role, text in map(read_turn, listing) if text]
    system = optional_text(row, "system")
    if system and (not messages or messages[0][0] != "system"):
        messages.insert(0, ("system", system))
    roles = [role for role, _ in messages]
    if "user" not in roles or "assistant" not in roles:
        raise RowError("no-answer")
    return roles, [text for _, text in messages]


def read_turn(turn: Any) -> tuple[str, str]:
    """Role and text of one turn; of a system prompt the text may be empty."""
    if not isinstance(turn, dict):
        raise RowError("wrong-type")
    role_name = required_text(turn, "role" if "role" in turn else "from").lower()
    role = ROLES.get(role_name)
    if role_name in TOOL_ROLES or any(turn.get(field) for field in CALLS):
        raise RowError("tool-use")
    if role is None:
        raise RowError("unknown-role")
    name = "content" if "content" in turn else "value"
    return role, optional_text(turn, name) if role == "system" else required_text(turn, name)


def read_opus(languages: LanguagePair, row: Row) -> Texts:
    """`translation` with a text per language, or a column per language, or source and target."""
    texts = row.get("translation", row)
    if not isinstance(texts, dict):
        raise RowError("wrong-type")
    names = languages if any(name in texts for name in languages) else ("source", "target")
    return [], [required_text(texts, names[0]), required_text(texts, names[1])]


def fits_opus(languages: LanguagePair, row: Row) -> bool:
    """Whether both languages are there."""
    texts = row.get("translation", row)
    return isinstance(texts, dict) and (
        set(languages) <= texts.keys() or {"source", "target"} <= texts.keys()
    )


def fits_sharegpt(row: Row) -> bool:
    """Whether there is a list of turns under one of ShareGPT's names."""
    return not set(LISTS[1:]).isdisjoint(row)


def has(*names: str) -> Callable[[Row], bool]:
    """A test for fields that must all be there."""
    return lambda row: set(names) <= row.keys()


def build_adapters(languages: LanguagePair) -> dict[str, Adapter]:
    """All adapters by name, in the order in which they are tried."""
    conversations: Kind = "conversations"
    opus = partial(fits_opus, languages), partial(read_opus, languages)
    opus_fields = f"translation with {' and '.join(languages)}, or source, target"
    all_of_them = (
        Adapter("messages", conversations, "messages", has("messages"), read_messages),
        Adapter("sharegpt", conversations, "conversations", fits_sharegpt, read_messages),
        question_adapter("openorca", OPENORCA),
        question_adapter("alpaca", ALPACA),
        Adapter("opus", "pairs", opus_fields, *opus),
    )
    return {adapter.name: adapter for adapter in all_of_them}


def question_adapter(name: str, fields: QuestionFields) -> Adapter:
    """The adapter of rows of one question and one answer."""
    needed = fields.question, fields.answer
    read = partial(read_question, fields)
    return Adapter(name, "conversations", ", ".join(needed), has(*needed), read, fields)


def find_adapter(rows: Iterable[Row], wanted: str, languages: LanguagePair) -> Adapter | None:
    """The adapter that one of the rows fits: the wanted one, or with `auto` the first of all."""
    known = build_adapters(languages)
    tried = list(known.values()) if wanted == "auto" else [known[wanted]]
    return next((adapter for row in rows for adapter in tried if adapter.fits(row)), None)


def describe_adapters(languages: LanguagePair) -> str:
    """The adapters and the fields they need, for people."""
    return "; ".join(
        f"{known.name} ({known.fields})" for known in build_adapters(languages).values()
    )


def compute_row_digest(roles: Sequence[str], texts: Sequence[str]) -> tuple[bytes, int]:
    """16 bytes that name roles and texts, and the bytes of both.

    Raises RowError for text that no file can hold.
    """
    # No text is empty or holds a NUL, so this tells any two rows apart.
    joined = "\0".join([*roles, "", *texts])
    if joined.count("\0") != len(roles) + len(texts):
        raise RowError("nul")
    try:
        data = joined.encode()
    except UnicodeEncodeError as error:
        raise RowError("lone-surrogate") from error
    return hashlib.blake2b(data, digest_size=16).digest(), len(data)
