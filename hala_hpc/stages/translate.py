"""translate: put every row of a corpus into the target language."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from hala_hpc.core.estimate import Amount, Estimate, EstimateInputs, TextAmount, format_amount
from hala_hpc.core.settings import CorpusRef, ModelRef, runtime
from hala_hpc.data.checks.settings import CheckSettings
from hala_hpc.data.corpus.reader import Kind, Row
from hala_hpc.engines.generation.engine_choice import engine_mistakes
from hala_hpc.engines.generation.model_fit import estimate_fit
from hala_hpc.engines.generation.prompts import fill_template, find_missing_fields
from hala_hpc.engines.generation.row_stage import TRIAL_SENTENCES, RowSettings, RowStage

if TYPE_CHECKING:
    # What only jobs need is imported there: a dry run loads this file for its settings.
    from hala_hpc.engines.generation.row_program import Prompt, RowProgram
    from hala_hpc.engines.generation.translation import Translator


#: Bytes of the result for each byte of the corpus: a translation stands beside its source, and its
#: letters may take two bytes each.
SIZE_FACTOR = 3.0


class Settings(RowSettings):
    """Settings of `translate`."""

    model: ModelRef
    """The translator: a hub id, a folder, or `@node` of a quantize, sft or merge node."""
    corpus: CorpusRef
    """The rows: conversations, or pairs. `@node/rejected` has those that a node rejected."""
    source: str = "en"
    """Language of the corpus, as in ISO 639."""
    target: str = "ar"
    """Language to translate into, as in ISO 639."""
    prompt: str = "Translate everything that follows into Arabic:\n\n{text}"
    """The instruction, with a place {text}; as the paper prompts its translator."""
    roles: list[str] = Field(default=["system", "user", "assistant"])
    """Messages of these roles are translated, others stay as they are."""
    field: Literal["source", "target"] = "source"
    """Side of a pair that is translated; the translation takes the place of the other side."""
    segment_tokens: PositiveInt = 512
    """Longer texts are cut, at paragraphs, then sentences; less where the context is smaller."""
    retries: NonNegativeInt = 2
    """How often a piece that fails a check is asked again, drawn anew or cut smaller."""
    checks: CheckSettings = CheckSettings()
    """What a translation must be like; a row that fails after all retries is rejected."""
    max_rejected_fraction: Annotated[float, Field(ge=0, le=1)] = runtime(0.2)
    """Fail when a larger share of the rows is rejected, as soon as that is certain. Below 1 also
    where over 80 % of the first 200 rows are, for one reason that is no matter of the rows."""
    units: PositiveInt = 512
    """Pieces with a mark of their own. A number, not a size: known before the corpus exists."""


class TranslationTask:
    """What the two kinds of rows share: the translator of their texts."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.extra: dict[str, str] = {}
        self.wanted: frozenset[str] | None = frozenset()
        self.translator: Translator | None = None

    def fit(self, room: int, count: Callable[[str], int]) -> None:
        """Make the translator for a model with this much room."""
        from hala_hpc.data.checks.translation import OutputChecks
        from hala_hpc.engines.generation.translation import Translator

        settings = self.settings
        checks = OutputChecks(settings.checks, settings.source, settings.target)
        self.translator = Translator(
            prompt=settings.prompt,
            checks=checks,
            digits=settings.checks.digits,
            retries=settings.retries,
            limit=min(settings.segment_tokens, room),
            count=count,
            source=settings.source,
        )


class ConversationTask(TranslationTask):
    """The messages of a conversation; a row is good when all of them are."""

    kind: Kind = "translations"

    def is_asked(self, message: Row) -> bool:
        """Whether a message goes to the model: of a translated role, and not blank."""
        return message["role"] in self.settings.roles and bool(message["content"].strip())

    def program(self, row: Row) -> "RowProgram":
        """The conversation with its translated messages, its former ones beside them."""
        assert self.translator is not None
        texts = [m["content"] for m in row["messages"] if self.is_asked(m)]
        made = yield from self.translator.translate(texts)
        if not isinstance(made, list):
            return made
        left = iter(made)
        messages = [
            {"role": m["role"], "content": next(left) if self.is_asked(m) else m["content"]}
            for m in row["messages"]
        ]
        return {**row, "messages": messages, "messages_source": row["messages"]}

    def fault(self, before: Row, after: Row) -> str:
        """Messages lost, out of order, blank, or with broken code, LaTeX and the like."""
        if after["messages_source"] != before["messages"]:
            return "its source messages were changed"
        if [m["role"] for m in after["messages"]] != [m["role"] for m in before["messages"]]:
            return "has other messages than its source"
        for old, new in zip(before["messages"], after["messages"], strict=True):
            if fault := text_fault(old["content"], new["content"]):
                return fault
        return ""


class PairTask(TranslationTask):
    """One side of a pair; what stood on the other is not kept."""

    kind: Kind = "pairs"

    def program(self, row: Row) -> "RowProgram":
        """The pair of a text and what the model made of it."""
        assert self.translator is not None
        text = row[self.settings.field]
        made = yield from self.translator.translate([text])
        if not isinstance(made, list):
            return made
        return {**row, "source": text, "target": made[0]}

    def fault(self, before: Row, after: Row) -> str:
        """Another source, a blank target, or broken code, LaTeX and the like."""
        if after["source"] != before[self.settings.field]:
            return "its source was changed"
        return text_fault(after["source"], after["target"])


def text_fault(source: str, translation: str) -> str:
    """What is wrong with a translation as such, whatever the checks are set to."""
    from hala_hpc.data.segmentation.spans import lost_spans

    if source.strip() and not translation.strip():
        return "has a blank translation"
    lost = lost_spans(source, translation)
    return f"has another {lost[0]!r} than its source" if lost else ""


class Translate(RowStage[Settings]):
    """Runs a translator over a corpus, many units in one engine."""

    name = "translate"
    Settings = Settings
    version = 4
    input_kinds = ("conversations", "pairs")

    def preflight(self) -> list[str]:
        """The model's files, the corpus, and the place for the text in the prompt."""
        self.require_inputs()
        mistakes = engine_mistakes(self.settings.engine.name)
        return mistakes + find_missing_fields("prompt", self.settings.prompt, ["text"])

    def estimate(self, inputs: EstimateInputs) -> Estimate:
        """The corpus with its translations, and the seconds in which a GPU writes them."""
        model = inputs.largest_model([self.settings.model])
        text, seconds, breakdown = self.translated(inputs), None, ""
        if model and text:
            write = inputs.throughput.write
            seconds = text.target / write.tokens_per_s_of(model)
            breakdown = (
                f"{format_amount(text.target)} tokens written, {write.describe(model)} on a GPU"
            )
        size = SIZE_FACTOR * inputs.size_bytes([self.settings.corpus])
        weights = inputs.checkpoint(self.settings.model)
        need, misfits = estimate_fit(weights, self.settings.engine, inputs.capacity)
        output = Amount(text, None, size)
        return Estimate(
            output,
            model,
            seconds,
            hours_breakdown=breakdown,
            need=need,
            misfits=misfits,
            work=text.target if text else None,
        )

    def translated(self, inputs: EstimateInputs) -> TextAmount | None:
        """Rows and tokens of both sides; as counted once the node is finished."""
        corpus, expected = inputs.text(self.settings.corpus), None
        if corpus:
            is_target = corpus.target and self.settings.field == "target"
            source = corpus.target if is_target else corpus.source
            growth = inputs.throughput.write.tokens_per_source_token
            expected = corpus._replace(source=source, target=source * growth)
        text, counted = inputs.corrected(expected), inputs.counted
        if text is not expected and text and counted and counted.tokens_out:
            return text._replace(target=float(counted.tokens_out))
        return text

    def task(self, kind: Kind) -> ConversationTask | PairTask:
        """What is done with each row of a corpus of this kind."""
        return PairTask(self.settings) if kind == "pairs" else ConversationTask(self.settings)

    def trial(self) -> "Sequence[Prompt]":
        """The translation of short sentences, by the node's own prompt."""
        from hala_hpc.engines.generation.row_program import Prompt

        return [
            Prompt(fill_template(self.settings.prompt, {"text": text})) for text in TRIAL_SENTENCES
        ]

    @property
    def empty_prompt(self) -> str:
        """The prompt around an empty text."""
        return fill_template(self.settings.prompt, {"text": ""})


STAGE = Translate
