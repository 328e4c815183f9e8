"""Adapters that map the row formats of public data sets to conversations and pairs.

The reasons for rejecting a row are those of `row_values` and `turns`, and no-answer, nul and
lone-surrogate.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from hala_hpc.data.corpus.messages import NO_FIELDS, MessageFields, format_fields
from hala_hpc.data.corpus.reader import Kind, Row
from hala_hpc.data.readers.row_values import RowError, optional_text, required_text
from hala_hpc.data.readers.turns import Turn, TurnRules, decode, read_tools, read_turn

#: Fields that hold a list of turns; the adapter `messages` uses the first.
LISTS = ("messages", "conversations", "conversation")
DEFAULT_RULES = TurnRules()
LanguagePair = tuple[str, str]


class Texts(NamedTuple):
    """Roles and texts of a conversation in order; for a pair no roles and two texts."""

    roles: list[str]
    texts: list[str]
    fields: Sequence[MessageFields] = ()
    """What each message has beside them; empty if none has anything."""
    tools: str = ""
    """The tools of the conversation as JSON text."""


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


def turns(system: str, user: str, assistant: str) -> Texts:
    """Build a conversation of one question and its answer."""
    if system:
        return Texts(["system", "user", "assistant"], [system, user, assistant])
    return Texts(["user", "assistant"], [user, assistant])


ALPACA = QuestionFields("instruction", "output", "input", "system")
PROMPT = QuestionFields("prompt", "completion", "", "system")
OPENORCA = QuestionFields("question", "response", "", "system_prompt")


def read_question(fields: QuestionFields, row: Row) -> Texts:
    """Read a conversation of a question, with `more` after a blank line, and its answer."""
    question = required_text(row, fields.question)
    if fields.more and (more := optional_text(row, fields.more)):
        question = f"{question}\n\n{more}"
    return turns(optional_text(row, fields.system), question, required_text(row, fields.answer))


def read_messages(rules: TurnRules, row: Row) -> Texts:
    """Read a list of turns with `role` and `content`, or `from` and `value`."""
    listing = next((row[name] for name in LISTS if row.get(name) is not None), None)
    if isinstance(listing, str):
        listing = decode(listing, "wrong-type")
    if listing is None:
        raise RowError("missing-field")
    if not isinstance(listing, list):
        raise RowError("wrong-type")
    # Many data sets carry a blank system prompt; it is dropped.
    found = [read_turn(turn, rules) for turn in listing]
    found = [turn for turn in found if turn.text or turn.role != "system"]
    system = optional_text(row, "system")
    if system and (not found or found[0].role != "system"):
        found.insert(0, Turn("system", system))
    roles = [turn.role for turn in found]
    if "user" not in roles or "assistant" not in roles:
        raise RowError("no-answer")
    tools = read_tools(row, any(turn.fields.tool_calls for turn in found))
    fields = [turn.fields for turn in found]
    has_fields = any(field is not NO_FIELDS for field in fields)
    return Texts(roles, [turn.text for turn in found], fields if has_fields else (), tools)


def read_prompt(rules: TurnRules, row: Row) -> Texts:
    """Read prompt and completion: texts, or two lists of turns.

    Answers of the prompt are context: as in TRL, only the completion is learned.
    """
    prompt, completion = row.get("prompt"), row.get("completion")
    if isinstance(prompt, list) and isinstance(completion, list):
        context = [{**turn, "weight": 0} if isinstance(turn, dict) else turn for turn in prompt]
        return read_messages(rules, {**row, "messages": context + completion})
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
    return Texts([], [required_text(texts, names[0]), required_text(texts, names[1])])


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


def build_adapters(languages: LanguagePair, rules: TurnRules = DEFAULT_RULES) -> dict[str, Adapter]:
    """Return all adapters by name, in the order in which `auto` tries them."""
    conversations: Kind = "conversations"
    opus = partial(fits_opus, languages), partial(read_opus, languages)
    read_turns, read_both = partial(read_messages, rules), partial(read_prompt, rules)
    opus_fields = f"translation with {' and '.join(languages)}, or source, target"
    all_of_them = (
        Adapter("messages", conversations, "messages", has("messages"), read_turns),
        Adapter("sharegpt", conversations, "conversations", fits_sharegpt, read_turns),
        question_adapter("openorca", OPENORCA),
        question_adapter("alpaca", ALPACA),
        Adapter("prompt", conversations, "prompt, completion", has(*PROMPT[:2]), read_both),
        Adapter("opus", "pairs", opus_fields, *opus),
    )
    return {adapter.name: adapter for adapter in all_of_them}


def question_adapter(name: str, fields: QuestionFields) -> Adapter:
    """Make the adapter of rows with one question and one answer."""
    needed = fields.question, fields.answer
    read = partial(read_question, fields)
    return Adapter(name, "conversations", ", ".join(needed), has(*needed), read, fields)


def find_adapter(rows: Iterable[Row], wanted: str, known: Mapping[str, Adapter]) -> Adapter | None:
    """Return the first adapter that fits one of the rows: `wanted`, or any with `auto`."""
    tried = list(known.values()) if wanted == "auto" else [known[wanted]]
    return next((adapter for row in rows for adapter in tried if adapter.fits(row)), None)


def describe_adapters(languages: LanguagePair) -> str:
    """List the adapters and their required fields for a message."""
    return "; ".join(
        f"{known.name} ({known.fields})" for known in build_adapters(languages).values()
    )


def compute_row_digest(
    roles: Sequence[str],
    texts: Sequence[str],
    fields: Sequence[MessageFields] = (),
    tools: str = "",
) -> tuple[bytes, int]:
    """Return the 16-byte row id, a hash of all that a row has, and the number of bytes hashed.

    Raises: RowError if a text has a NUL or a lone surrogate.
    """
    # No role is empty and no text contains NUL, so different rows give different joined strings.
    parts = [*roles, "", *texts]
    if (fields or tools) and (more := format_fields(fields, tools)):
        parts.append(more)
    joined = "\0".join(parts)
    if joined.count("\0") != len(parts) - 1:
        raise RowError("nul")
    try:
        data = joined.encode()
    except UnicodeEncodeError as error:
        raise RowError("lone-surrogate") from error
    return hashlib.blake2b(data, digest_size=16).digest(), len(data)
