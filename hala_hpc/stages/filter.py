"""filter: keep the pairs of a corpus that a judge model accepts."""

import re
from functools import cached_property
from pathlib import Path

from pydantic import Field, PositiveInt

from hala_hpc.core.settings import CorpusRef, ModelRef
from hala_hpc.data.corpus import Kind, Row, require_kind
from hala_hpc.engines.prompts import fill, missing_places
from hala_hpc.engines.row_stage import RowSettings, RowStage
from hala_hpc.engines.row_work import TOO_LONG, Answer, Rejection, Work
from hala_hpc.engines.settings import EngineSettings

#: Ours: the paper tells its judge (Qwen2.5-3B-Instruct, accept or reject) but not its words.
PROMPT = (
    "You judge translations. Accept a pair when the translation says what the source says, in "
    "fluent and complete sentences. Reject it when meaning is missing, added or wrong, or when "
    "either side is in another language.\n\n"
    "Source: {source}\n\nTranslation: {target}\n\n"
    "Answer with one word, accept or reject."
)
#: The judge said neither of its words.
UNPARSABLE = "unparsable"
#: The judge said no.
REJECTED = "rejected_by_judge"


class JudgeEngine(EngineSettings):
    """An engine whose answers are a word or two."""

    max_new_tokens: PositiveInt = 8
    """Tokens of a verdict at most."""


class Settings(RowSettings):
    """Settings of `filter`."""

    model: ModelRef
    """The judge: a hub id, a folder, or `@node`."""
    corpus: CorpusRef
    """The pairs to judge."""
    prompt: str = PROMPT
    """The question, with places {source} and {target}."""
    accept: list[str] = Field(default=["accept", "accepted", "yes"])
    """First words of an answer that keep the pair."""
    reject: list[str] = Field(default=["reject", "rejected", "no"])
    """First words of an answer that reject it. Any other answer rejects it as unparsable."""
    units: PositiveInt = 256
    """Pieces with a mark of their own. A number, not a size: known before the corpus exists."""
    engine: JudgeEngine = JudgeEngine()
    """How the engine runs."""


def first_word(text: str) -> str:
    """The first word of an answer, without the marks around it and in small letters."""
    found = re.search(r"\w+", text)
    return found[0].casefold() if found else ""


class JudgeTask:
    """One question for each pair; the pair itself stays as it is."""

    kind: Kind = "pairs"

    def __init__(self, settings: Settings) -> None:
        self.prompt = settings.prompt
        self.accept = {word.casefold() for word in settings.accept}
        self.reject = {word.casefold() for word in settings.reject}

    def prompts(self, row: Row) -> list[str]:
        """The question about a pair."""
        return [fill(self.prompt, {"source": row["source"], "target": row["target"]})]

    def finish(self, row: Row, answers: list[Answer]) -> Row | Rejection:
        """The pair when the judge's first word accepts it."""
        said = answers[0].text
        if answers[0].reason == TOO_LONG:
            return Rejection(TOO_LONG)
        word = first_word(said)
        if word in self.accept:
            return row
        return Rejection(REJECTED if word in self.reject else UNPARSABLE, said)

    def fault(self, before: Row, after: Row) -> str:
        """Anything that is not as it was."""
        return "" if before == after else "was changed"


class Filter(RowStage[Settings]):
    """Runs a judge over pairs with vLLM, many units in one engine."""

    name = "filter"
    Settings = Settings

    def preflight(self) -> list[str]:
        """The judge's files, the places in the prompt, and words that mean two things."""
        self.require_inputs()
        task = JudgeTask(self.settings)
        both = sorted(task.accept & task.reject)
        mistakes = [f"{word!r} stands in accept and in reject; keep one" for word in both]
        return mistakes + missing_places("prompt", self.settings.prompt, ["source", "target"])

    @cached_property
    def work(self) -> Work:
        """The corpus and what is done with each of its rows."""
        corpus = Path(self.inputs.path(self.settings.corpus))
        require_kind(corpus, "pairs")
        blank = fill(self.settings.prompt, {"source": "", "target": ""})
        task = JudgeTask(self.settings)
        return Work(corpus, self.settings.corpus, self.settings.units, task, blank)


STAGE = Filter
