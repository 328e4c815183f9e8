"""translate: put every row of a corpus into the target language."""

from functools import cached_property
from pathlib import Path

from pydantic import Field, PositiveInt

from hala_hpc.core.settings import CorpusRef, ModelRef
from hala_hpc.data.corpus import Kind, Row, require_kind
from hala_hpc.engines.prompts import fill, missing_places
from hala_hpc.engines.row_stage import RowSettings, RowStage
from hala_hpc.engines.row_work import Answer, Rejection, Work


class Settings(RowSettings):
    """Settings of `translate`."""

    model: ModelRef
    """The translator: a hub id, a folder, or `@node` of a quantize, sft or merge node."""
    corpus: CorpusRef
    """The rows: conversations (every message is translated) or pairs (the source side is)."""
    source: str = "en"
    """Language of the corpus, as in ISO 639."""
    target: str = "ar"
    """Language to translate into, as in ISO 639."""
    prompt: str = "Translate everything that follows into Arabic:\n\n{text}"
    """The instruction, with a place {text}; as the paper prompts its translator."""
    roles: list[str] = Field(default=["system", "user", "assistant"])
    """Messages of these roles are translated, others stay as they are."""
    units: PositiveInt = 512
    """Pieces with a mark of their own. A number, not a size: known before the corpus exists."""


class ConversationTask:
    """Every message of a conversation on its own; a row is good when all of them are."""

    kind: Kind = "translations"

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def is_asked(self, message: Row) -> bool:
        """Whether a message goes to the model: of a translated role, and not blank."""
        return message["role"] in self.settings.roles and bool(message["content"].strip())

    def prompts(self, row: Row) -> list[str]:
        """One prompt for each message that is asked."""
        asked = filter(self.is_asked, row["messages"])
        return [fill(self.settings.prompt, {"text": message["content"]}) for message in asked]

    def finish(self, row: Row, answers: list[Answer]) -> Row | Rejection:
        """The conversation with its translated messages, its former ones beside them."""
        for answer in answers:
            if answer.reason:
                return Rejection(answer.reason, answer.text)
        texts = iter(answers)
        messages = [
            {
                "role": message["role"],
                "content": next(texts).text if self.is_asked(message) else message["content"],
            }
            for message in row["messages"]
        ]
        return {**row, "messages": messages, "messages_source": row["messages"]}

    def fault(self, before: Row, after: Row) -> str:
        """Messages lost, out of order or blank."""
        if after["messages_source"] != before["messages"]:
            return "its source messages were changed"
        if [m["role"] for m in after["messages"]] != [m["role"] for m in before["messages"]]:
            return "has other messages than its source"
        both = zip(before["messages"], after["messages"], strict=True)
        if any(old["content"].strip() and not new["content"].strip() for old, new in both):
            return "has a blank translation"
        return ""


class PairTask:
    """The source side of a pair; its former target side is not kept."""

    kind: Kind = "pairs"

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def prompts(self, row: Row) -> list[str]:
        """One prompt, for the source side."""
        return [fill(self.settings.prompt, {"text": row["source"]})]

    def finish(self, row: Row, answers: list[Answer]) -> Row | Rejection:
        """The pair of the source and what the model made of it."""
        if answers[0].reason:
            return Rejection(answers[0].reason, answers[0].text)
        return {**row, "target": answers[0].text}

    def fault(self, before: Row, after: Row) -> str:
        """Another source, or a blank target."""
        if after["source"] != before["source"]:
            return "its source was changed"
        return "" if after["target"].strip() else "has a blank translation"


class Translate(RowStage[Settings]):
    """Runs a translator over a corpus with vLLM, many units in one engine."""

    name = "translate"
    Settings = Settings

    def preflight(self) -> list[str]:
        """The model's files, the corpus, and the place for the text in the prompt."""
        self.require_inputs()
        return missing_places("prompt", self.settings.prompt, ["text"])

    @cached_property
    def work(self) -> Work:
        """The corpus and what is done with each of its rows."""
        corpus = Path(self.inputs.path(self.settings.corpus))
        kind = require_kind(corpus, "conversations", "pairs")
        task = PairTask(self.settings) if kind == "pairs" else ConversationTask(self.settings)
        blank = fill(self.settings.prompt, {"text": ""})
        return Work(corpus, self.settings.corpus, self.settings.units, task, blank)


STAGE = Translate
