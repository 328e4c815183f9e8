"""Judges conversations: each message by one question, the row by its lowest score."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from hala_hpc.core.errors import CONFIG, UserError
from hala_hpc.data.corpus.reader import Kind, Row
from hala_hpc.engines.generation.message_context import previous_contexts
from hala_hpc.engines.generation.prompts import fill_template
from hala_hpc.engines.generation.row_program import Prompt, Rejection, RowProgram, Sampling

#: Score of a row without a message to judge, such as one of nothing but code.
UNJUDGED_SCORE = 1.0


@dataclass(frozen=True)
class JudgeQuestion:
    """How a judge is asked, and which rows are accepted."""

    prompt: str
    """With {source} and {target} for translated messages, with {text} for others; {context} is the
    source of the messages before."""
    accept: str
    reject: str
    lowest: float
    """Min score of an accepted row."""
    roles: tuple[str, ...]
    """Roles whose messages are judged."""
    context_tokens: int
    """Max tokens of a context."""


class MessageScore(NamedTuple):
    """The score of a message, and the answer that is likelier."""

    score: float
    verdict: str


class ConversationJudge:
    """Judges the messages of conversations; a row is unchanged but gets scores and a verdict.

    Raises: UserError (CONFIG) if the prompt has no fields for this kind of corpus.
    """

    def __init__(self, question: JudgeQuestion, kind: Kind, rejection: str) -> None:
        self.question, self.kind, self.rejection = question, kind, rejection
        self.extra = {"score": "double", "verdict": "string", "message_scores": "list<double>"}
        self.wanted: frozenset[str] | None = frozenset({rejection})
        self._sampling = Sampling(labels=(question.accept, question.reject))
        self._count: Callable[[str], int] = len
        needed = ("source", "target") if kind == "translations" else ("text",)
        if missing := [name for name in needed if f"{{{name}}}" not in question.prompt]:
            raise UserError(
                f"prompt={question.prompt!r}: no field {{{missing[0]}}}; the corpus holds {kind}, "
                f"so ask about {' and '.join(f'{{{name}}}' for name in needed)}",
                CONFIG,
            )

    def fit(self, room: int, count: Callable[[str], int]) -> None:
        """Take the function that counts tokens; a message is never split."""
        del room
        self._count = count

    def program(self, row: Row) -> RowProgram:
        """Judge the messages of a row at once; return it with its scores, or reject it."""
        places = list(self._judged(row))
        prompts = [self._ask(row, place) for place in places]
        answers = (yield prompts) if prompts else []
        if failed := next((answer for answer in answers if answer.reason), None):
            return Rejection(failed.reason, failed.text)
        found = [MessageScore(answer.label_probabilities[0], answer.text) for answer in answers]
        row_score = min(found, default=MessageScore(UNJUDGED_SCORE, self.question.accept))
        scores: list[float | None] = [None] * len(row["messages"])
        for place, message_score in zip(places, found, strict=True):
            scores[place] = message_score.score
        values = {**row_score._asdict(), "message_scores": scores}
        if row_score.score < self.question.lowest:
            return Rejection(self.rejection, row_score.verdict, values)
        return {**row, **values}

    def _judged(self, row: Row) -> Iterator[int]:
        """Yield the numbers of the messages to judge: those of the roles, if translated."""
        sources = row.get("messages_source") or [None] * len(row["messages"])
        for place, (message, source) in enumerate(zip(row["messages"], sources, strict=True)):
            is_unchanged = source is not None and source["content"] == message["content"]
            is_judged = message["role"] in self.question.roles and message["content"].strip()
            if is_judged and not is_unchanged:
                yield place

    def _ask(self, row: Row, place: int) -> Prompt:
        sources = row.get("messages_source") or row["messages"]
        text = row["messages"][place]["content"]
        values = {"text": text, "target": text, "source": sources[place]["content"], "context": ""}
        if "{context}" in self.question.prompt:
            limit = self.question.context_tokens
            values["context"] = previous_contexts(sources[: place + 1], limit, self._count)[-1]
        return Prompt(fill_template(self.question.prompt, values), self._sampling)

    def fault(self, before: Row, after: Row) -> str:
        """Find a changed row, a score out of range, or an unknown verdict."""
        if any(after.get(name) != value for name, value in before.items()):
            return "was changed"
        if not self.question.lowest <= after["score"] <= 1:
            return f"has the score {after['score']}"
        if len(after["message_scores"]) != len(after["messages"]):
            return "has not one score for each message"
        answers = (self.question.accept, self.question.reject)
        return "" if after["verdict"] in answers else f"has the verdict {after['verdict']!r}"
