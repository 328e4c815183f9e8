"""What the chat template gets of a conversation: its turns with slots in the place of the texts."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hala_hpc.data.corpus.messages import is_context

#: A message of a corpus; see `data/corpus/messages.py`.
Message = Mapping[str, Any]
#: Placeholder for the text of message {} while the chat template is rendered.
SLOT = "\u2063words {}\u2063"
#: Fields of a message that chat templates read beside role and content.
TEMPLATE_FIELDS = ("tool_calls", "tool_call_id", "name")


@dataclass(frozen=True)
class TalkOutline:
    """A conversation without its texts."""

    turns: tuple[Message, ...]
    """Turns with slots; the calls of tools are lists of objects."""
    context: frozenset[int] = frozenset()
    """Answers that are not learned."""
    tools: Sequence[Any] = ()
    """Descriptions of the tools."""

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles of all turns."""
        return tuple(turn["role"] for turn in self.turns)

    @property
    def slots(self) -> list[int]:
        """The turns that have a text."""
        return [number for number, turn in enumerate(self.turns) if turn["content"]]

    @property
    def has_calls(self) -> bool:
        """Whether a turn calls tools."""
        return any("tool_calls" in turn for turn in self.turns)

    @property
    def data(self) -> str:
        """All texts of the row that the template renders itself; "" for most rows."""
        fields = [{name: t[name] for name in TEMPLATE_FIELDS if name in t} for t in self.turns]
        return (
            json.dumps([fields, self.tools], ensure_ascii=False)
            if any(fields) or self.tools
            else ""
        )

    def without_calls(self) -> "TalkOutline":
        """Return the outline without the calls of its turns."""
        turns = [{k: v for k, v in turn.items() if k != "tool_calls"} for turn in self.turns]
        return replace(self, turns=tuple(turns))

    def with_text_arguments(self) -> "TalkOutline":
        """Return the outline with the arguments of calls as JSON text, as some templates expect."""
        turns = tuple(
            {**turn, "tool_calls": [text_arguments(call) for call in turn["tool_calls"]]}
            if "tool_calls" in turn
            else turn
            for turn in self.turns
        )
        return replace(self, turns=turns)


def text_arguments(call: Mapping[str, Any]) -> dict[str, Any]:
    """Return a call with its arguments as JSON text."""
    function = call["function"]
    arguments = json.dumps(function["arguments"], ensure_ascii=False)
    return {**call, "function": {**function, "arguments": arguments}}


def outline_roles(roles: Sequence[str], context: frozenset[int]) -> TalkOutline:
    """Return the outline of a conversation whose turns have a role and a text each."""
    turns = [{"role": role, "content": SLOT.format(number)} for number, role in enumerate(roles)]
    return TalkOutline(tuple(turns), context)


def outline_messages(messages: Sequence[Message], tools: str) -> TalkOutline:
    """Return the outline of a conversation with other fields, tools, or turns without a text."""
    turns = []
    for number, message in enumerate(messages):
        content = SLOT.format(number) if message["content"] else ""
        turn = {"role": message["role"], "content": content}
        turn |= {name: message[name] for name in TEMPLATE_FIELDS if message.get(name)}
        if "tool_calls" in turn:
            turn["tool_calls"] = json.loads(turn["tool_calls"])
        turns.append(turn)
    return TalkOutline(tuple(turns), find_context(messages), json.loads(tools) if tools else ())


def find_context(messages: Sequence[Message]) -> frozenset[int]:
    """Return the numbers of the answers that are not learned."""
    return frozenset(number for number, message in enumerate(messages) if is_context(message))


def is_simple(messages: Sequence[Message]) -> bool:
    """Whether a conversation is described by its roles."""
    return all(
        message["content"] and not any(message.get(name) for name in TEMPLATE_FIELDS)
        for message in messages
    )


def merge_system_turns(messages: Sequence[Message]) -> list[Message]:
    """Return the messages with each system text before the text of the next user turn.

    A blank line is between them. A system turn that no user turn follows stays.
    """
    merged: list[Message] = []
    waiting: list[Message] = []
    for message in messages:
        if message["role"] == "system":
            waiting.append(message)
        elif message["role"] == "user" and waiting:
            texts = [*(one["content"] for one in waiting), message["content"]]
            merged.append({**message, "content": "\n\n".join(texts)})
            waiting = []
        else:
            merged.append(message)
    return [*merged, *waiting]
