"""filter: keep the pairs of a corpus that a judge model accepts."""

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import Field, PositiveInt

from hala_hpc.core.settings import CorpusRef, ModelRef
from hala_hpc.core.stage import Facts, Out, Stage
from hala_hpc.data.corpus import Kind, Row, parts, require_kind
from hala_hpc.data.model_files import require_model
from hala_hpc.engines.job_environment import prepare_environment
from hala_hpc.engines.prompts import fill, missing_places
from hala_hpc.engines.row_work import TOO_LONG, Answer, Rejection, Work
from hala_hpc.engines.settings import EngineSettings, GenerationSettings
from hala_hpc.engines.unit_files import check_unit, collect_units

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


class Settings(GenerationSettings):
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


class Filter(Stage[Settings]):
    """Runs a judge over pairs with vLLM, many units in one engine."""

    name = "filter"
    produces = "corpus"
    Settings = Settings

    def plan(self) -> int:
        """As many units as the settings say."""
        return self.settings.units

    def preflight(self) -> list[str]:
        """The judge's files, the places in the prompt, and words that mean two things."""
        require_model(self.settings.model)
        if not self.settings.corpus.startswith("@"):
            parts(self.settings.corpus)
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

    def run(self, units: Sequence[int], out: Out) -> None:
        """Judge the units in one engine, each committed when its last row is done."""
        from hala_hpc.engines.generate import Generator
        from hala_hpc.engines.unit_feed import UnitFeed

        prepare_environment(self.resources.cpus_per_rank)
        work = self.work  # before the engine starts: a bad corpus costs no GPU time
        model = self.inputs.path(self.settings.model)
        with Generator(model, self.settings.engine, self.settings.prompt_style) as generator:
            UnitFeed(generator, work, out).run(units)

    def check(self, unit: int, folder: Path) -> Facts:
        """Every pair of the input is kept as it was or rejected, in its order."""
        return check_unit(unit, folder, self.work)

    def collect(self, marks: list[dict[str, Any]], folders: list[Path], output: Path) -> Any:
        """Gather the shards; returns texts, seconds and speed."""
        return collect_units(marks, folders, output)


STAGE = Filter
