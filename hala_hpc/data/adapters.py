"""From the row shapes of public data sets to conversations and pairs.

A row that cannot be used has one word why: missing-field, wrong-type, empty-text, unknown-role,
no-answer, nul or lone-surrogate.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from hala_hpc.data.corpus import Kind, Row

#: Fields that hold a list of turns; the first is that of the adapter `messages`.
LISTS = ("messages", "conversations", "conversation")
Languages = tuple[str, str]
Messages = list[dict[str, str]]

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


class RowError(Exception):
    """A row that cannot be used; the text is one word why."""


@dataclass(frozen=True)
class Adapter:
    """One row shape: the fields that tell it, and how its texts are read."""

    name: str
    kind: Kind
    fields: str
    """The fields it needs, for people."""
    fits: Callable[[Row], bool]
    read: Callable[[Row], dict[str, Any]]


def text_of(row: Row, name: str) -> str:
    """A text that must be there and not be blank."""
    if row.get(name) is None:
        raise RowError("missing-field")
    text = row[name]
    if not isinstance(text, str):
        raise RowError("wrong-type")
    if not text.strip():
        raise RowError("empty-text")
    return text


def optional_text(row: Row, name: str) -> str:
    """A text that may be absent or blank; then it is empty."""
    text = row.get(name)
    if text is None:
        return ""
    if not isinstance(text, str):
        raise RowError("wrong-type")
    return text if text.strip() else ""


def turns(system: str, user: str, assistant: str) -> dict[str, Any]:
    """A conversation of one question and its answer."""
    texts = {"system": system, "user": user, "assistant": assistant}
    return {"messages": [{"role": role, "content": text} for role, text in texts.items() if text]}


def read_alpaca(row: Row) -> dict[str, Any]:
    """`instruction`, `output`, and perhaps `input` (after a blank line) and `system`."""
    question = text_of(row, "instruction")
    if more := optional_text(row, "input"):
        question = f"{question}\n\n{more}"
    return turns(optional_text(row, "system"), question, text_of(row, "output"))


def read_openorca(row: Row) -> dict[str, Any]:
    """`question`, `response`, and perhaps `system_prompt`."""
    question, answer = text_of(row, "question"), text_of(row, "response")
    return turns(optional_text(row, "system_prompt"), question, answer)


def read_messages(row: Row) -> dict[str, Any]:
    """A list of turns, with `role` and `content` or `from` and `value`."""
    listing = next((row[name] for name in LISTS if row.get(name) is not None), None)
    if listing is None:
        raise RowError("missing-field")
    if not isinstance(listing, list):
        raise RowError("wrong-type")
    messages = [message for turn in listing for message in read_turn(turn)]
    system = optional_text(row, "system")
    if system and (not messages or messages[0]["role"] != "system"):
        messages.insert(0, {"role": "system", "content": system})
    if not {"user", "assistant"} <= {message["role"] for message in messages}:
        raise RowError("no-answer")
    return {"messages": messages}


def read_turn(turn: Any) -> Messages:
    """One turn as a message; none for a blank system prompt, which many data sets carry."""
    if not isinstance(turn, dict):
        raise RowError("wrong-type")
    word = text_of(turn, "role" if "role" in turn else "from")
    role = ROLES.get(word.lower())
    if role is None:
        raise RowError("unknown-role")
    name = "content" if "content" in turn else "value"
    text = optional_text(turn, name) if role == "system" else text_of(turn, name)
    return [{"role": role, "content": text}] if text else []


def read_opus(languages: Languages, row: Row) -> dict[str, Any]:
    """`translation` with a text per language, or a column per language, or source and target."""
    texts = row.get("translation", row)
    if not isinstance(texts, dict):
        raise RowError("wrong-type")
    names = languages if any(name in texts for name in languages) else ("source", "target")
    return {"source": text_of(texts, names[0]), "target": text_of(texts, names[1])}


def fits_opus(languages: Languages, row: Row) -> bool:
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


def adapters(languages: Languages) -> dict[str, Adapter]:
    """All adapters by name, in the order in which they are tried."""
    talk: Kind = "conversations"
    opus = partial(fits_opus, languages), partial(read_opus, languages)
    opus_fields = f"translation with {' and '.join(languages)}, or source, target"
    orca, alpaca = has("question", "response"), has("instruction", "output")
    all_of_them = (
        Adapter("messages", talk, "messages", has("messages"), read_messages),
        Adapter("sharegpt", talk, "conversations", fits_sharegpt, read_messages),
        Adapter("openorca", talk, "question, response", orca, read_openorca),
        Adapter("alpaca", talk, "instruction, output", alpaca, read_alpaca),
        Adapter("opus", "pairs", opus_fields, *opus),
    )
    return {adapter.name: adapter for adapter in all_of_them}


def find_adapter(rows: Iterable[Row], wanted: str, languages: Languages) -> Adapter | None:
    """The adapter that one of the rows fits: the wanted one, or with `auto` the first of all."""
    known = adapters(languages)
    tried = list(known.values()) if wanted == "auto" else [known[wanted]]
    return next((adapter for row in rows for adapter in tried if adapter.fits(row)), None)


def describe_adapters(languages: Languages) -> str:
    """The adapters and the fields they need, for people."""
    return "; ".join(f"{known.name} ({known.fields})" for known in adapters(languages).values())


def flat(content: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Roles and texts of an adapted row, in order; a pair has no roles."""
    if "messages" in content:
        messages = content["messages"]
        roles = [message["role"] for message in messages]
        return roles, [message["content"] for message in messages]
    return [], [content["source"], content["target"]]


def digest(roles: list[str], texts: list[str]) -> tuple[bytes, int]:
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


def content_id(content: dict[str, Any]) -> str:
    """32 hexadecimal digits of roles and texts. Raises RowError for text that no file can hold."""
    return digest(*flat(content))[0].hex()
